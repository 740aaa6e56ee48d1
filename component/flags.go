package component

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/mortise-lock/mortise/component/internal/telemetry"
)

// TokenVariable is the environment variable with the token that TCP clients must send.
// There is no flag for the token, because process lists show flags.
const TokenVariable = "MORTISE_API_TOKEN"

// DaprTokenVariable is the environment variable with the token that apps send to their
// sidecar, or to Mortise in its place.
const DaprTokenVariable = "DAPR_API_TOKEN"

// AddFlags adds a flag for each option to the flag set and sets the options to their
// defaults, some of which come from the environment. Addresses that are already set are
// kept as defaults.
func (o *Options) AddFlags(flags *pflag.FlagSet, getenv func(string) string) {
	o.SocketMode, o.TCP.Token, o.Tracing = 0o660, getenv(TokenVariable), telemetry.TracingConfigured(getenv)
	flags.StringVar(&o.Folder, "sockets-folder", Folder(getenv),
		"folder of the socket; default from $"+strings.Join(FolderVariables, ", $"))
	flags.StringVar(&o.Name, "name", "mortise", "name of the socket; the component type is lock.<name>")
	flags.Var((*octal)(&o.SocketMode), "socket-mode", "permissions of the socket, octal; daprd needs to read and write")
	flags.StringSliceVar(&o.ResourcePaths, "resources-path", nil,
		"folder or file of Dapr component YAML to open before the socket appears; may be repeated, or separated by commas, as for daprd")
	flags.BoolVar(&o.StartDegraded, "start-degraded", false,
		"start although the storage of a component in the resources path is unreachable; calls for the component fail with "+
			"UNAVAILABLE, and health reports it as failing, until the storage can be reached")
	flags.DurationVar(&o.DrainTimeout, "drain-timeout", 5*time.Second, "how long calls in progress may take at shutdown")
	o.TCP.addFlags(flags)
	o.TCP.Dapr.addFlags(flags, getenv)
}

func (o *TCPOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Address, "listen-address", "",
		"host:port of the Locks and ChannelLocks services, as gRPC over TCP; off if empty")
	flags.StringVar(&o.HTTPAddress, "http-listen-address", o.HTTPAddress,
		"host:port of RTM channel locks over HTTP, with the same TLS and token; off if empty")
	flags.StringVar(&o.MetricsAddress, "metrics-address", "",
		"host:port of Prometheus metrics at /metrics and of /healthz, with the same TLS and token; off if empty")
	flags.BoolVar(&o.LockEventMetrics, "lock-event-metrics", false,
		"add the metrics of locks held, expired and revoked, for which the process subscribes to all lock events of every store")
	flags.StringVar(&o.CertFile, "tls-cert-file", "",
		"PEM certificate; all TCP ports then require TLS 1.3; reloaded when it changes")
	flags.StringVar(&o.KeyFile, "tls-key-file", "", "PEM key of that certificate")
	flags.StringVar(&o.ClientCAFile, "tls-client-ca-file", "", "CA certificates that client certificates must chain to")
	flags.StringVar(&o.TokenFile, "token-file", "",
		"file with the bearer token that TCP clients must send, over gRPC or HTTP; default from $"+TokenVariable)
	flags.BoolVar(&o.AllowInsecure, "allow-insecure-tcp", false,
		"permit an address that other machines can reach without TLS, or without a token or client certificates")
}

func (o *DaprOptions) addFlags(flags *pflag.FlagSet, getenv func(string) string) {
	o.Token, o.Namespace, o.PodName = getenv(DaprTokenVariable), getenv("NAMESPACE"), getenv("POD_NAME")
	flags.StringVar(&o.GRPCAddress, "dapr-grpc-listen-address", o.GRPCAddress,
		"host:port of Dapr's and Layotto's API over gRPC, for apps without a sidecar; off if empty. If $"+DaprTokenVariable+
			" is set, apps must send it")
	flags.StringVar(&o.HTTPAddress, "dapr-http-listen-address", o.HTTPAddress, "host:port of Dapr's API over HTTP, likewise; off if empty")
	flags.StringVar(&o.AppID, "app-id", o.AppID, "id of the app without a sidecar; part of its locks' keys. Components in the resources path that are for it must open, "+
		"others with scopes need not")
}

// Folder returns the sockets folder in the environment, or else the default.
func Folder(getenv func(string) string) string {
	for _, name := range FolderVariables {
		if value := getenv(name); value != "" {
			return value
		}
	}
	return DefaultFolder
}

// octal is a file mode that is written as an octal number.
type octal os.FileMode

// String implements [pflag.Value].
func (o *octal) String() string { return fmt.Sprintf("%04o", uint32(*o)) }

// Type implements [pflag.Value].
func (o *octal) Type() string { return "mode" }

// Set implements [pflag.Value].
func (o *octal) Set(text string) error {
	bits, err := strconv.ParseUint(text, 8, 9)
	if err != nil {
		return errors.New("must be an octal number up to 0777")
	}
	*o = octal(bits)
	return nil
}

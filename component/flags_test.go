package component

import (
	"io"
	"slices"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// parse parses flags in an environment.
func parse(env map[string]string, args ...string) (Options, error) {
	var o Options
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	o.AddFlags(flags, func(name string) string { return env[name] })
	return o, flags.Parse(args)
}

func TestFolder(t *testing.T) {
	env := map[string]string{}
	if o, err := parse(env); err != nil || o.Folder != DefaultFolder {
		t.Errorf("without variables: %s, %v", o.Folder, err)
	}
	for i := len(FolderVariables) - 1; i >= 0; i-- {
		name := FolderVariables[i]
		env[name] = "/" + name
		if o, err := parse(env); err != nil || o.Folder != "/"+name {
			t.Errorf("with %s set: %s, %v", name, o.Folder, err)
		}
	}
}

func TestAddFlags(t *testing.T) {
	o, err := parse(map[string]string{"MORTISE_API_TOKEN": "secret"},
		"--sockets-folder=/f", "--name=n", "--socket-mode=0600", "--resources-path=a", "--resources-path=b,c", "--start-degraded", "--drain-timeout=3s",
		"--listen-address=:1", "--http-listen-address=:2", "--metrics-address=:3", "--lock-event-metrics",
		"--tls-cert-file=c", "--tls-key-file=k", "--tls-client-ca-file=ca", "--token-file=t", "--allow-insecure-tcp")
	if err != nil {
		t.Fatal(err)
	}
	if o.Folder != "/f" || o.Name != "n" || o.SocketMode != 0o600 || !slices.Equal(o.ResourcePaths, []string{"a", "b", "c"}) || !o.StartDegraded ||
		o.DrainTimeout != 3*time.Second {
		t.Errorf("%+v", o)
	}
	want := TCPOptions{
		Address: ":1", HTTPAddress: ":2", MetricsAddress: ":3", LockEventMetrics: true, CertFile: "c", KeyFile: "k", ClientCAFile: "ca",
		Token: "secret", TokenFile: "t", AllowInsecure: true,
	}
	if o.TCP != want {
		t.Errorf("%+v", o.TCP)
	}
}

func TestAddFlags_Tracing(t *testing.T) {
	if o, err := parse(nil); err != nil || o.Tracing {
		t.Errorf("without variables: %v, %v", o.Tracing, err)
	}
	if o, err := parse(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}); err != nil || !o.Tracing {
		t.Errorf("with an endpoint: %v, %v", o.Tracing, err)
	}
}

func TestAddFlags_DefaultSocketMode(t *testing.T) {
	if o, err := parse(nil); err != nil || o.SocketMode != 0o660 {
		t.Errorf("%v, %v", o.SocketMode, err)
	}
}

package component

import (
	"net/http"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/mortise-lock/mortise/component/daprapi"
	"github.com/mortise-lock/mortise/component/internal/keyprefix"
	"github.com/mortise-lock/mortise/component/internal/telemetry"
	"github.com/mortise-lock/mortise/component/layotto"
	layottopb "github.com/mortise-lock/mortise/proto/spec/proto/runtime/v1"
)

// DaprOptions are the options of serving Dapr's and Layotto's API to apps without a
// sidecar.
type DaprOptions struct {
	GRPCAddress string // host:port; off if empty
	HTTPAddress string // host:port; off if empty
	AppID       string // id of the app; part of its locks' keys
	Namespace   string // replaces {namespace} in a keyPrefix
	PodName     string // replaces {podName} in a keyPrefix
	Token       string // apps must send it as dapr-api-token; none if empty
	Version     string // of the program, in Dapr's metadata API
}

// daprWriteTimeout is how long a request of Dapr's API may take until its response is
// read. The request waits only for the store.
const daprWriteTimeout = time.Minute

// enabled reports whether an API for apps without a sidecar is served.
func (o DaprOptions) enabled() bool { return o.GRPCAddress+o.HTTPAddress != "" }

// ownApp returns the id of the app whose sidecar this process replaces, and whether there
// is one.
func (o DaprOptions) ownApp() (id string, known bool) { return o.AppID, o.enabled() || o.AppID != "" }

// checkToken returns an error if apps cannot send the token.
func (o DaprOptions) checkToken() error {
	if o.Token == "" || !o.enabled() {
		return nil
	}
	_, err := checkToken("$"+DaprTokenVariable, o.Token)
	return err
}

// sidecarlessAPIs are the APIs for apps without a sidecar. They are nil if none is
// served.
type sidecarlessAPIs struct {
	dapr    *daprapi.API
	layotto *layotto.Service
}

// newSidecarlessAPIs returns the APIs for the app of the options, with the components
// that the app may use. If no API is served, it does not check the components' metadata
// that only a daprd uses.
func newSidecarlessAPIs(o DaprOptions, components []Component, s services) (d sidecarlessAPIs, err error) {
	if !o.enabled() {
		return sidecarlessAPIs{}, nil
	}
	components = slices.DeleteFunc(slices.Clone(components), func(c Component) bool { return !c.IsFor(o.AppID) })
	d.dapr, err = daprapi.New(daprapi.Options{
		AppID: o.AppID, Namespace: o.Namespace, PodName: o.PodName, Token: o.Token, Version: o.Version,
		Components: components, Stores: s.set.Resolver(), Leaving: s.telemetry.Health.ShuttingDown,
		Observed: func(next http.Handler) http.Handler { return s.telemetry.Handler(telemetry.Dapr, next) },
	})
	if err != nil {
		return sidecarlessAPIs{}, err
	}
	prefixes := map[string]string{}
	for _, c := range components {
		prefixes[c.Name], _ = keyprefix.Of(c.Metadata)
	}
	d.layotto, err = layotto.New(layotto.Options{AppID: o.AppID, KeyPrefixes: prefixes, Stores: s.set.Resolver()})
	return d, err
}

// daprGRPCServer returns the server for Dapr's and Layotto's API over gRPC.
func (n *tcpListeners) daprGRPCServer(s services) server {
	options := append(n.grpcOptions(), s.sidecarless.dapr.ServerOptions()...)
	// unknownMethod replaces the handler of daprapi.
	options = append(options, grpc.UnknownServiceHandler(unknownMethod))
	return s.newGRPCServer(func(r grpc.ServiceRegistrar) {
		s.sidecarless.dapr.Register(r)
		layottopb.RegisterRuntimeServer(r, s.sidecarless.layotto)
	}, options...)
}

// unknownMethod handles calls of methods that neither API serves. Layotto's fail with
// UNIMPLEMENTED, all others as in daprd.
func unknownMethod(srv any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	if err := layotto.Unserved(method); err != nil {
		return err
	}
	return daprapi.UnknownMethod(srv, stream)
}

// daprHTTPServer returns the server for Dapr's API over HTTP.
func (n *tcpListeners) daprHTTPServer(s services) server {
	h := s.sidecarless.dapr.HTTPServer()
	h.Handler = crossOriginProtection(h.Handler, daprapi.Refuse)
	h.WriteTimeout = daprWriteTimeout
	h.HTTP2 = &http.HTTP2Config{WriteByteTimeout: requestTimeout}
	return newHTTPServer(n, h, n.options.Dapr.Token != "", daprapi.Refuse)
}

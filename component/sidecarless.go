package component

import (
	"net/http"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/mortise-lock/mortise/component/daprapi"
	"github.com/mortise-lock/mortise/component/internal/telemetry"
	"github.com/mortise-lock/mortise/component/layotto"
	layottopb "github.com/mortise-lock/mortise/proto/spec/proto/runtime/v1"
)

// DaprOptions says how to serve apps that speak the API of Dapr or of Layotto and have no
// sidecar.
type DaprOptions struct {
	GRPCAddress string // host:port; empty is not at all
	HTTPAddress string // host:port; empty is not at all
	AppID       string // whose locks these are; part of their keys
	Namespace   string // for components whose keyPrefix has {namespace} in it
	PodName     string // for components whose keyPrefix has {podName} in it
	Token       string // what apps must send as dapr-api-token; empty: nothing
	Version     string // told to apps that ask
}

// answerTimeout is how long a request of Dapr's API may take until its answer is read. It
// waits for nothing but the store.
const daprWriteTimeout = time.Minute

// served tells whether apps are served at all.
func (o DaprOptions) enabled() bool { return o.GRPCAddress+o.HTTPAddress != "" }

// app returns the id of the app that this process stands in for, and whether it does.
func (o DaprOptions) ownApp() (id string, known bool) { return o.AppID, o.enabled() || o.AppID != "" }

// checkToken tells whether apps cannot send the token.
func (o DaprOptions) checkToken() error {
	if o.Token == "" || !o.enabled() {
		return nil
	}
	_, err := checkToken("$"+DaprTokenVariable, o.Token)
	return err
}

// sidecarlessAPIs are the APIs that stand in for a sidecar.
type sidecarlessAPIs struct {
	dapr    *daprapi.API
	layotto *layotto.Service
}

// newSidecarlessAPIs returns the APIs for an app, to those of the components that it may
// use. Where apps are not served there are no APIs, and what their components have in
// their metadata for a daprd is no matter.
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
		prefixes[c.Name] = keyPrefix(c.Metadata)
	}
	d.layotto, err = layotto.New(layotto.Options{AppID: o.AppID, KeyPrefixes: prefixes, Stores: s.set.Resolver()})
	return d, err
}

// daprGRPCServer returns the server for Dapr's and Layotto's API over gRPC.
func (n *tcpListeners) daprGRPCServer(s services) server {
	options := append(n.grpcOptions(), s.sidecarless.dapr.ServerOptions()...)
	options = append(options, grpc.UnknownServiceHandler(unknownMethod)) // replaces that of daprapi
	return s.newGRPCServer(func(r grpc.ServiceRegistrar) {
		s.sidecarless.dapr.Register(r)
		layottopb.RegisterRuntimeServer(r, s.sidecarless.layotto)
	}, options...)
}

// unknownMethod answers calls of methods that neither API serves: Layotto's are
// UNIMPLEMENTED, all others are answered as daprd answers them.
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

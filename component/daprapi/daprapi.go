// Package daprapi is the API of apps that speak Dapr's own API and have no sidecar: what
// Dapr's SDKs need to take and give back locks, over gRPC and over HTTP.
//
// It answers as daprd 1.18 does with a lock component: the order of its checks, its
// codes, messages and JSON, and its keys, so that a lock that an app has taken through a
// sidecar is held for an app that comes in by this API, and the other way round. APIs of
// Dapr other than that for locks are not implemented, and say so.
package daprapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"

	"github.com/mortise-lock/mortise/stores"
)

// Options says what the API stands for.
type Options struct {
	AppID      string      // daprd's --app-id: whose locks these are, and part of their keys; may be empty
	Namespace  string      // daprd's $NAMESPACE, for components whose keyPrefix has {namespace} in it
	PodName    string      // daprd's $POD_NAME, for components whose keyPrefix has {podName} in it
	Components []Component // what calls can name
	Stores     Stores      // what calls use
	Token      string      // $DAPR_API_TOKEN, which every call must carry as dapr-api-token; empty: none
	Version    string      // told to those who ask for the version of the runtime

	// Observed returns a handler that observes what next does: requests over HTTP that
	// may pass, but for those for the health. Calls over gRPC are for the server to
	// observe. Nil is next itself.
	Observed func(next http.Handler) http.Handler

	// Leaving tells whether the process takes no more calls. Nil is never.
	Leaving func() bool
}

// Component is what a resource file tells of a component.
type Component struct {
	Name     string
	Type     string
	Version  string
	Metadata map[string]string // of which only keyPrefix is looked at
	Scopes   []string          // ids of the apps that may use it; empty is every app
}

// IsFor tells whether the app may use the component. An app without an id may use what is
// for every app.
func (c Component) IsFor(appID string) bool {
	return len(c.Scopes) == 0 || slices.Contains(c.Scopes, appID)
}

// Stores finds the store of a component by its name. Do calls fn with it, and returns
// fn's error.
type Stores interface {
	Do(ctx context.Context, name string, fn func(stores.Store) error) error
}

// API serves Dapr's runtime API. It is safe for concurrent use.
type API struct {
	runtimepb.UnimplementedDaprServer
	options  Options
	prefixes map[string]string // what the keys of each component begin with
	auth    tokenAuth
	routes   map[string]endpoint
}

// New returns an API. It fails if a component's keyPrefix is one that daprd would not
// start with, or if two components have one name.
func New(o Options) (*API, error) {
	if o.Observed == nil {
		o.Observed = func(next http.Handler) http.Handler { return next }
	}
	if o.Leaving == nil {
		o.Leaving = func() bool { return false }
	}
	a := &API{options: o, prefixes: make(map[string]string, len(o.Components)), auth: newTokenAuth(o.Token)}
	for _, c := range o.Components {
		prefix, err := o.keyPrefix(c)
		if _, twice := a.prefixes[c.Name]; twice {
			err = errors.New("there are two of that name")
		}
		if err != nil {
			return nil, fmt.Errorf("component %q: %w", c.Name, err)
		}
		a.prefixes[c.Name] = prefix
	}
	a.routes = a.endpoints()
	return a, nil
}

// Register adds the service to a gRPC server, which should have the API's options.
func (a *API) Register(r grpc.ServiceRegistrar) { runtimepb.RegisterDaprServer(r, a) }

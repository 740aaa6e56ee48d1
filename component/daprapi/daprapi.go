// Package daprapi is the API for apps that use Dapr's own API and have no sidecar. It
// serves what Dapr's SDKs call to acquire and release locks, over gRPC and over HTTP.
//
// It responds as daprd 1.18 does with a lock component: in the order of its checks, its
// codes, messages and JSON, and its keys. A lock that an app has acquired through a
// sidecar is therefore held for apps that use this API, and the other way round. Dapr's
// other APIs are not implemented, and calls to them fail with an error that says so.
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

// Options are the settings of an API.
type Options struct {
	AppID      string      // daprd's --app-id, part of the locks' keys; may be empty
	Namespace  string      // daprd's $NAMESPACE, for keyPrefixes with {namespace}
	PodName    string      // daprd's $POD_NAME, for keyPrefixes with {podName}
	Components []Component // the components that calls can name
	Stores     Stores      // their stores
	Version    string      // reported as the version of the runtime

	// Token is $DAPR_API_TOKEN, which every call must carry as dapr-api-token. If it is
	// empty, calls need no token.
	Token string

	// Observed returns a handler that records telemetry for the HTTP requests that next
	// handles. It is called with authenticated requests only, and not with health checks.
	// The gRPC server records its calls itself. Nil is next itself.
	Observed func(next http.Handler) http.Handler

	// Leaving reports whether the process is shutting down. Nil is never.
	Leaving func() bool
}

// Component is a component as a resource file describes it.
type Component struct {
	Name     string
	Type     string
	Version  string
	Metadata map[string]string // only keyPrefix is used
	Scopes   []string          // ids of the apps that may use it; empty: every app
}

// IsFor reports whether the app may use the component. An app without an id may use
// components without scopes.
func (c Component) IsFor(appID string) bool {
	return len(c.Scopes) == 0 || slices.Contains(c.Scopes, appID)
}

// Stores finds the store of a component by the component's name. Do calls fn with it and
// returns fn's error.
type Stores interface {
	Do(ctx context.Context, name string, fn func(stores.Store) error) error
}

// API serves Dapr's runtime API. It is safe for concurrent use.
type API struct {
	runtimepb.UnimplementedDaprServer
	options  Options
	prefixes map[string]string // of keys, by component
	auth     tokenAuth
	routes   map[string]endpoint
}

// New returns an API. It fails if daprd would not start with the keyPrefix of a
// component, or if two components have the same name.
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
			err = errors.New("two components have this name")
		}
		if err != nil {
			return nil, fmt.Errorf("component %q: %w", c.Name, err)
		}
		a.prefixes[c.Name] = prefix
	}
	a.routes = a.endpoints()
	return a, nil
}

// Register adds the service to a gRPC server, which must be created with the API's
// ServerOptions.
func (a *API) Register(r grpc.ServiceRegistrar) { runtimepb.RegisterDaprServer(r, a) }

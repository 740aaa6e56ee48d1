package daprapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Limits for HTTP clients. The sizes and the header's timeout are those of daprd, which
// has no timeout for a body.
const (
	maxBody       = 4 << 20 // bytes
	maxHeader     = 4 << 10 // bytes, to which net/http adds 4 KiB
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second // includes the header
	idleTimeout   = 3 * time.Minute
)

// endpoint handles the requests of one route. The store is empty for routes that do not
// end in a store's name. The body of a successful response is JSON; nil is no content.
type endpoint func(r *http.Request, store string) ([]byte, error)

// endpoints returns the routes by method and path. A path that ends in a slash is
// followed by the name of a store.
func (a *API) endpoints() map[string]endpoint {
	return map[string]endpoint{
		"POST /v1.0-alpha1/lock/": newEndpoint(a.TryLockAlpha1, writeMessage,
			func(m *runtimepb.TryLockRequest, store string) { m.StoreName = store }),
		"POST /v1.0-alpha1/unlock/": newEndpoint(a.UnlockAlpha1, writeMessage,
			func(m *runtimepb.UnlockRequest, store string) { m.StoreName = store }),
		"GET /v1.0/metadata": newEndpoint(a.GetMetadata, writeMetadata,
			func(*runtimepb.GetMetadataRequest, string) {}),
		"GET /v1.0/healthz":          a.healthz,
		"GET /v1.0/healthz/outbound": a.outboundHealthz,
	}
}

// HTTPServer returns a server for the HTTP API, with limits on sizes and times. The
// caller calls Serve with a listener. The server supports HTTP/1.1, and HTTP/2 with and
// without TLS.
func (a *API) HTTPServer() *http.Server {
	s := &http.Server{
		Handler:           a.Handler(),
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		IdleTimeout:       idleTimeout,
		Protocols:         new(http.Protocols),
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return s
}

// Handler returns the handler of the HTTP API.
func (a *API) Handler() http.Handler {
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := a.serve(r)
		respond(w, body, err)
	})
	observed := a.options.Observed(serve)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case isHealthRequest(r):
			serve(w, r)
		case a.auth.accepts(r.Header.Get(tokenHeader)):
			observed.ServeHTTP(w, r)
		default:
			http.Error(w, "invalid api token", http.StatusUnauthorized)
		}
	})
}

// serve finds the endpoint by the cleaned path. Slashes within a store's name are still
// escaped in it.
func (a *API) serve(r *http.Request) ([]byte, error) {
	clean := path.Clean(r.URL.EscapedPath())
	if serve, ok := a.routes[r.Method+" "+clean]; ok {
		return serve(r, "")
	}
	route, last := path.Split(clean)
	serve, ok := a.routes[r.Method+" "+route]
	if store, err := url.QueryUnescape(last); ok && err == nil {
		return serve(r, store)
	}
	return nil, noRouteError(r)
}

// otherAPIs matches the paths of daprd's other APIs.
var otherAPIs = regexp.MustCompile(`^/v1\.0(-alpha1|-alpha2|-beta1)?/(shutdown$|invoke/.+/method/|` +
	`(actors|bindings|configuration|conversation|crypto|jobs|metadata|publish|secrets|state|subtlecrypto|workflows)/.)`)

// noRouteError is the error for a request that has no route. daprd forwards such a
// request to an app, if the request names one.
func noRouteError(r *http.Request) error {
	user, _, _ := r.BasicAuth()
	if r.Header.Get("dapr-app-id") != "" || strings.EqualFold(user, "dapr-app-id") || otherAPIs.MatchString(r.URL.Path) {
		return errUnimplemented
	}
	return errNoRoute
}

// newEndpoint returns an endpoint that reads the body, which may be empty, into a
// request, sets the request's store with address, and writes the result of call.
func newEndpoint[M any, Request interface {
	*M
	proto.Message
}, Response proto.Message](
	call func(context.Context, Request) (Response, error), write func(Response) ([]byte, error), address func(Request, string),
) endpoint {
	return func(r *http.Request, store string) ([]byte, error) {
		request := Request(new(M))
		if err := read(r.Body, request); err != nil {
			return nil, err
		}
		address(request, store)
		response, err := call(r.Context(), request)
		if err != nil {
			return nil, err
		}
		return write(response)
	}
}

// read parses the JSON body of a request.
func read(r io.Reader, request proto.Message) error {
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errors.New("stream too large")
	}
	if err != nil {
		return errBodyRead.with(err)
	}
	if len(body) == 0 {
		return nil
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true, AllowPartial: true}).Unmarshal(body, request); err != nil {
		return errMalformed.with(err)
	}
	return nil
}

// writeMessage returns a response's JSON with all fields, and with enums as numbers.
func writeMessage[Response proto.Message](m Response) ([]byte, error) {
	return protojson.MarshalOptions{EmitUnpopulated: true, UseEnumNumbers: true}.Marshal(m)
}

// healthz reports whether the process accepts calls. If the query has an appid, it must
// be the app's.
func (a *API) healthz(r *http.Request, _ string) ([]byte, error) {
	if a.options.Leaving() {
		return nil, errNotReady
	}
	if query := r.URL.Query(); query.Has("appid") && query.Get("appid") != a.options.AppID {
		return nil, errOtherApp
	}
	return nil, nil
}

// outboundHealthz reports whether the process accepts the app's calls.
func (a *API) outboundHealthz(*http.Request, string) ([]byte, error) {
	if a.options.Leaving() {
		return nil, errOutbound
	}
	return nil, nil
}

// Refuse responds to a request that is rejected before it reaches the Handler, in the
// Handler's format. httpCode is 403 or 503.
func Refuse(w http.ResponseWriter, _ *http.Request, httpCode int, reason string) {
	apiErr := internal("ERROR", reason)
	apiErr.http = httpCode
	if httpCode == http.StatusForbidden {
		apiErr.name = "ERR_PERMISSION_DENIED"
	}
	respond(w, nil, apiErr)
}

// respond sends the response or the error.
func respond(w http.ResponseWriter, body []byte, err error) {
	code := http.StatusOK
	if err != nil {
		apiErr, ok := errors.AsType[apiError](err)
		if !ok {
			apiErr = internal("ERROR", err.Error())
		}
		code = apiErr.http
		body = apiErr.body()
	}
	if body == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body) // fails if the client has disconnected
}

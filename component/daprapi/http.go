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

// Bounds of what HTTP clients may send, and of how long they may take. The sizes and the
// time for a header are daprd's, which waits for a body forever.
const (
	maxBody       = 4 << 20 // bytes
	maxHeader     = 4 << 10 // bytes, and as much again that net/http grants
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second // includes the header
	idleTimeout   = 3 * time.Minute
)

// endpoint answers a request for what one route serves: a store, if the route ends in
// one. The body of an answer without an error is JSON, and nil is no content.
type endpoint func(r *http.Request, store string) ([]byte, error)

// endpoints are the routes, by method and path. A path that ends in a slash is followed
// by the name of a store.
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

// HTTPServer returns a server for the HTTP API, with bounds, to be given a listener. It
// speaks HTTP/2 with and without TLS.
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
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := a.serve(r)
		respond(w, body, err)
	})
	observed := a.options.Observed(answer)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case isHealthRequest(r):
			answer(w, r)
		case a.auth.accepts(r.Header.Get(tokenHeader)):
			observed.ServeHTTP(w, r)
		default:
			http.Error(w, "invalid api token", http.StatusUnauthorized)
		}
	})
}

// serve finds the endpoint by the cleaned path, in which slashes that are part of a
// store's name are still escaped.
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

// notOurs are the paths of daprd's other APIs.
var otherAPIs = regexp.MustCompile(`^/v1\.0(-alpha1|-alpha2|-beta1)?/(shutdown$|invoke/.+/method/|` +
	`(actors|bindings|configuration|conversation|crypto|jobs|metadata|publish|secrets|state|subtlecrypto|workflows)/.)`)

// elsewhere is the answer to a request that has no route. daprd would hand it to an app,
// if it named one.
func noRouteError(r *http.Request) error {
	user, _, _ := r.BasicAuth()
	if r.Header.Get("dapr-app-id") != "" || strings.EqualFold(user, "dapr-app-id") || otherAPIs.MatchString(r.URL.Path) {
		return errUnimplemented
	}
	return errNoRoute
}

// endpointOf returns an endpoint that reads the body, which may be empty, into a request,
// addresses it to the store, and writes what call answers.
func newEndpoint[M any, Request interface {
	*M
	proto.Message
}, Answer proto.Message](
	call func(context.Context, Request) (Answer, error), write func(Answer) ([]byte, error), address func(Request, string),
) endpoint {
	return func(r *http.Request, store string) ([]byte, error) {
		request := Request(new(M))
		if err := read(r.Body, request); err != nil {
			return nil, err
		}
		address(request, store)
		answer, err := call(r.Context(), request)
		if err != nil {
			return nil, err
		}
		return write(answer)
	}
}

// read reads the JSON of a request.
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

// writeMessage writes an answer with all its fields, and enums as numbers.
func writeMessage[Answer proto.Message](m Answer) ([]byte, error) {
	return protojson.MarshalOptions{EmitUnpopulated: true, UseEnumNumbers: true}.Marshal(m)
}

// healthz tells whether calls are taken and, if it is asked for by its id, whether this
// is the app.
func (a *API) healthz(r *http.Request, _ string) ([]byte, error) {
	if a.options.Leaving() {
		return nil, errNotReady
	}
	if query := r.URL.Query(); query.Has("appid") && query.Get("appid") != a.options.AppID {
		return nil, errOtherApp
	}
	return nil, nil
}

// outboundHealthz tells whether the app's calls are taken.
func (a *API) outboundHealthz(*http.Request, string) ([]byte, error) {
	if a.options.Leaving() {
		return nil, errOutbound
	}
	return nil, nil
}

// Refuse answers a request that shall not come as far as to the Handler, in the same way.
// httpCode is 403 or 503.
func Refuse(w http.ResponseWriter, _ *http.Request, httpCode int, reason string) {
	refused := internal("ERROR", reason)
	refused.http = httpCode
	if httpCode == http.StatusForbidden {
		refused.name = "ERR_PERMISSION_DENIED"
	}
	respond(w, nil, refused)
}

// respond sends the answer, or the error.
func respond(w http.ResponseWriter, answer []byte, err error) {
	code := http.StatusOK
	if err != nil {
		refused, ok := errors.AsType[apiError](err)
		if !ok {
			refused = internal("ERROR", err.Error())
		}
		code = refused.http
		answer = refused.body()
	}
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(answer) // to a client that is gone
}

package rtm

import (
	"context"
	"net/http"
	"path"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// server is what HTTP is translated to.
type server = rtmpb.ChannelLocksServer

// httpOperation is one operation as HTTP has it.
type httpOperation struct {
	name       string               // as a Status tells it
	methods    []string             // with which it can be asked for
	newRequest func() proto.Message // a new request

	// serve asks the server, and answers. It returns an error that it has not told.
	serve func(s server, m proto.Message, w http.ResponseWriter, r *http.Request) error
}

// httpOperations are the operations by the last element of their path.
var httpOperations = map[string]httpOperation{
	"setLock":     unary("RTMSetLockOperation", server.SetLock, newLockAnswer),
	"acquireLock": unary("RTMAcquireOperation", server.AcquireLock, newLockAnswer),
	"releaseLock": unary("RTMReleaseLockOperation", server.ReleaseLock, newLockAnswer),
	"revokeLock":  unary("RTMRevokeLockOperation", server.RevokeLock, newLockAnswer),
	"getLock":     unary("RTMGetLockOperation", server.GetLock, newListAnswer),
	"removeLock":  unary("RTMRemoveLockOperation", server.RemoveLock, newLockAnswer),
	"keepAlive":   unary("RTMKeepAliveOperation", server.KeepAlive, newKeepAliveAnswer),
	"logout":      unary("RTMLogoutOperation", server.Logout, newLogoutAnswer),
	"subscribe":   stream("RTMSubscribeOperation", server.Subscribe, http.MethodGet),
	"session":     stream("RTMSessionOperation", server.Session, http.MethodGet, http.MethodPost),
}

// noOperation is the operation that a Status tells if a path has none.
const unknownOperation = "RTMOperation"

// Handler serves channel locks over HTTP: it asks s, and knows nothing of locks itself.
//
//	POST /v1/rtm/{store}/{setLock|acquireLock|releaseLock|revokeLock|getLock|removeLock|keepAlive|logout}
//	GET  /v1/rtm/{store}/{subscribe|session}, and POST for session
//
// The fields of a request have their names in JSON. They are in the query, but for held,
// and with POST in the body, an object. Answers are JSON; failures are a Status. Streams
// are server-sent events, whose names are those of the event types; a failure on the way
// is the last event, ERROR. They end when the client does not read, or is gone without a
// word.
//
// The server that uses the handler bounds reading a request, and writing, by its
// ReadTimeout and WriteTimeout. The handler lifts both when the request is read: locks
// are waited for without limit. Whatever it writes itself has a limit of its own.
func Handler(s rtmpb.ChannelLocksServer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/rtm/{store}/{operation}", func(w http.ResponseWriter, r *http.Request) { serveHTTP(s, w, r) })
	mux.HandleFunc("/", notFound)
	return mux
}

func serveHTTP(s server, w http.ResponseWriter, r *http.Request) {
	operation, ok := httpOperations[r.PathValue("operation")]
	if !ok {
		notFound(w, r)
		return
	}
	if !slices.Contains(operation.methods, r.Method) {
		allowed := strings.Join(operation.methods, ", ")
		w.Header().Set("Allow", allowed)
		refuse(w, operation.name, &httpError{http.StatusMethodNotAllowed, invalid(invalidParameter, "method", "must be "+allowed)})
		return
	}
	m := operation.newRequest()
	if err := readRequest(m.ProtoReflect(), w, r); err != nil {
		refuse(w, operation.name, err)
		return
	}
	if err := operation.serve(s, m, w, r); err != nil {
		writeError(w, operation.name, err)
	}
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	fault := "must be /v1/rtm/{store}/{operation}, with an operation that there is"
	refuse(w, unknownOperation, &httpError{http.StatusNotFound, invalid(invalidParameter, "path", fault)})
}

// refusals are RTM's codes for what the server that uses the handler refuses.
var refusals = map[int]*code{
	http.StatusUnauthorized:       {number: -10005, name: "INVALID_TOKEN", text: "no access"},
	http.StatusForbidden:          {number: -14010, name: "LOCK_PERMISSION_DENIED", text: "no access"},
	http.StatusServiceUnavailable: lockNotAvailable,
}

// Refuse answers a request that shall not come as far as to the Handler, in the same way.
// httpCode is 401, 403 or 503.
func Refuse(w http.ResponseWriter, r *http.Request, httpCode int, reason string) {
	name := unknownOperation
	if operation, ok := httpOperations[path.Base(r.URL.Path)]; ok {
		name = operation.name
	}
	c := refusals[httpCode]
	respond(w, httpCode, statusAnswer{c.number, name, c.text + ": " + reason})
}

// messageOf is a pointer to a message.
type messageOf[M any] interface {
	*M
	proto.Message
}

// unary is an operation with one answer, as call gives it and tell writes it.
func unary[M any, P messageOf[M], A any](
	name string, call func(server, context.Context, P) (A, error), tell func(A) any,
) httpOperation {
	return httpOperation{
		name:       name,
		methods:    []string{http.MethodPost},
		newRequest: func() proto.Message { return P(new(M)) },
		serve: func(s server, m proto.Message, w http.ResponseWriter, r *http.Request) error {
			answer, err := call(s, r.Context(), m.(P))
			if err != nil {
				return err
			}
			respond(w, http.StatusOK, tell(answer))
			return nil
		},
	}
}

// stream is an operation that is answered by events.
func stream[M any, P messageOf[M]](
	name string, call func(server, P, grpc.ServerStreamingServer[rtmpb.LockEvent]) error, methods ...string,
) httpOperation {
	return httpOperation{
		name:       name,
		methods:    methods,
		newRequest: func() proto.Message { return P(new(M)) },
		serve: func(s server, m proto.Message, w http.ResponseWriter, r *http.Request) error {
			events := newEventStream(w, r)
			return events.end(name, call(s, m.(P), events))
		},
	}
}

// Package rtmhttp serves the API of RTM's channel locks over HTTP, and as JSON to other
// APIs.
package rtmhttp

import (
	"context"
	"net/http"
	"path"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/mortise-lock/mortise/component/rtm"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// server is the service that requests are passed to.
type server = rtmpb.ChannelLocksServer

// httpOperation is an operation of the HTTP API.
type httpOperation struct {
	name       string   // in a Status
	methods    []string // that are allowed
	newRequest func() proto.Message

	// serve calls the server and writes the answer. If it returns an error, it has not
	// written anything.
	serve func(s server, m proto.Message, w http.ResponseWriter, r *http.Request) error
}

// httpOperations maps the last elements of paths to operations.
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

// unknownOperation is the operation in a Status for paths without an operation.
const unknownOperation = "RTMOperation"

// Handler returns a handler that serves channel locks over HTTP by calling s.
//
//	POST /v1/rtm/{store}/{operation}
//	GET  /v1/rtm/{store}/{subscribe|session}, and POST for session
//
// The operations of POST are setLock, acquireLock, releaseLock, revokeLock, getLock,
// removeLock, keepAlive and logout. The fields of a request have their JSON names. They
// are parameters of the query, except held, or with POST members of an object in the
// body. Answers are JSON; the answer of a failed operation is a Status. Streams are
// server-sent events, named for the event types; if a stream fails, its last event is
// ERROR. A stream ends when its client stops reading or disconnects.
//
// The ReadTimeout and WriteTimeout of the server that uses the handler bound reading a
// request and writing. The handler removes both bounds when it has read the request,
// because waits for locks have no limit. Its own writes have separate deadlines.
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
		refuse(w, operation.name, &httpError{http.StatusMethodNotAllowed, rtm.InvalidParameter("method", "must be "+allowed)})
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
	problem := "must be /v1/rtm/{store}/{operation} with a known operation"
	refuse(w, unknownOperation, &httpError{http.StatusNotFound, rtm.InvalidParameter("path", problem)})
}

// RTM's error codes of answers that are not errors of the service.
const (
	codeInvalidToken         = -10005 // INVALID_TOKEN
	codeOperationFailed      = -14001 // LOCK_OPERATION_FAILED
	codeNotAvailable         = -14009 // LOCK_NOT_AVAILABLE
	codeLockPermissionDenied = -14010 // LOCK_PERMISSION_DENIED
)

// refusals are the error codes and the reasons for the HTTP codes of Refuse.
var refusals = map[int]struct {
	errorCode int32
	reason    string
}{
	http.StatusUnauthorized:       {codeInvalidToken, "access denied"},
	http.StatusForbidden:          {codeLockPermissionDenied, "access denied"},
	http.StatusServiceUnavailable: {codeNotAvailable, "locks are not available"},
}

// Refuse answers a request that is rejected before it reaches the Handler, in the
// Handler's format. httpCode is 401, 403 or 503.
func Refuse(w http.ResponseWriter, r *http.Request, httpCode int, reason string) {
	name := unknownOperation
	if operation, ok := httpOperations[path.Base(r.URL.Path)]; ok {
		name = operation.name
	}
	refusal := refusals[httpCode]
	respond(w, httpCode, statusAnswer{refusal.errorCode, name, refusal.reason + ": " + reason})
}

// messageOf is a pointer to M that is a message.
type messageOf[M any] interface {
	*M
	proto.Message
}

// unary returns an operation with one answer. It calls the server by call, and convert
// returns the value whose JSON is the answer.
func unary[M any, P messageOf[M], A any](
	name string, call func(server, context.Context, P) (A, error), convert func(A) any,
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
			respond(w, http.StatusOK, convert(answer))
			return nil
		},
	}
}

// stream returns an operation whose answer is a stream of events.
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

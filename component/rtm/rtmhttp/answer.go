package rtmhttp

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/rtm"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// writeTimeout bounds the time in which a client reads an answer or an event.
const writeTimeout = 10 * time.Second

// The JSON of answers. All numbers are JSON numbers, because fencing tokens are below
// 2^53.
type (
	lockAnswer struct {
		ErrorCode   int32  `json:"errorCode"`
		Channel     string `json:"channel"`
		ChannelType string `json:"channelType"`
		LockName    string `json:"lockName"`
		TTL         uint32 `json:"ttl,omitempty"`
		LockRev     uint64 `json:"lockRev,omitempty"`
	}
	listAnswer struct {
		ErrorCode   int32          `json:"errorCode"`
		Channel     string         `json:"channel"`
		ChannelType string         `json:"channelType"`
		TotalLocks  uint32         `json:"totalLocks"`
		Locks       []detailAnswer `json:"locks"`
	}
	detailAnswer struct {
		Channel     string `json:"channel,omitempty"`
		ChannelType string `json:"channelType,omitempty"`
		LockName    string `json:"lockName"`
		Owner       string `json:"owner"`
		TTL         uint32 `json:"ttl"`
		LockRev     uint64 `json:"lockRev"`
	}
	keepAliveAnswer struct {
		ErrorCode int32          `json:"errorCode"`
		Locks     []detailAnswer `json:"locks"`
		Expired   []detailAnswer `json:"expired"`
	}
	logoutAnswer struct {
		ErrorCode int32 `json:"errorCode"`
	}
	statusAnswer struct {
		ErrorCode int32  `json:"errorCode"`
		Operation string `json:"operation"`
		Reason    string `json:"reason"`
	}
	snapshotEvent struct {
		EventType   rtmpb.LockEvent_Type `json:"eventType"`
		Channel     string               `json:"channel,omitempty"`
		ChannelType string               `json:"channelType,omitempty"`
		Locks       []detailAnswer       `json:"locks"`
	}
	lockEvent struct {
		EventType   rtmpb.LockEvent_Type `json:"eventType"`
		Channel     string               `json:"channel"`
		ChannelType string               `json:"channelType"`
		LockName    string               `json:"lockName"`
		Owner       string               `json:"owner"`
		TTL         uint32               `json:"ttl"`
		LockRev     uint64               `json:"lockRev"`
	}
)

func newLockAnswer(m *rtmpb.LockResponse) any {
	return lockAnswer{m.GetErrorCode(), m.GetChannel(), typeName(m), m.GetLockName(), m.GetTtl(), m.GetLockRev()}
}

func newListAnswer(m *rtmpb.GetLockResponse) any {
	return listAnswer{m.GetErrorCode(), m.GetChannel(), typeName(m), m.GetTotalLocks(), newDetails(m.GetLocks())}
}

func newKeepAliveAnswer(m *rtmpb.KeepAliveResponse) any {
	return keepAliveAnswer{Locks: newDetails(m.GetLocks()), Expired: newDetails(m.GetExpired())}
}

func newLogoutAnswer(*rtmpb.LogoutResponse) any { return logoutAnswer{} }

// newDetails returns the locks for JSON. It is never nil, whose JSON is null.
func newDetails(locks []*rtmpb.LockDetail) []detailAnswer {
	rows := make([]detailAnswer, len(locks))
	for i, l := range locks {
		rows[i] = detailAnswer{l.GetChannel(), typeName(l), l.GetLockName(), l.GetOwner(), l.GetTtl(), l.GetLockRev()}
	}
	return rows
}

func newEvent(m *rtmpb.LockEvent) any {
	if m.GetEventType() == rtmpb.LockEvent_SNAPSHOT {
		return snapshotEvent{m.GetEventType(), m.GetChannel(), typeName(m), newDetails(m.GetLocks())}
	}
	return lockEvent{
		m.GetEventType(), m.GetChannel(), typeName(m), m.GetLockName(), m.GetOwner(), m.GetTtl(), m.GetLockRev(),
	}
}

// typeName returns the name of the channel type, or "" if the message has no channel.
func typeName(m interface{ GetChannelType() rtmpb.ChannelType }) string {
	if m.GetChannelType() == rtmpb.ChannelType_NONE {
		return ""
	}
	return m.GetChannelType().String()
}

// httpCodes maps gRPC codes to HTTP codes. The others map to 500.
var httpCodes = map[codes.Code]int{
	codes.InvalidArgument:    http.StatusBadRequest,
	codes.Unauthenticated:    http.StatusUnauthorized,
	codes.NotFound:           http.StatusNotFound,
	codes.AlreadyExists:      http.StatusConflict,
	codes.FailedPrecondition: http.StatusConflict,
	codes.Aborted:            http.StatusConflict,
	codes.ResourceExhausted:  http.StatusTooManyRequests,
	codes.DeadlineExceeded:   http.StatusGatewayTimeout,
	codes.Unavailable:        http.StatusServiceUnavailable,
	codes.Unimplemented:      http.StatusNotImplemented,
}

// httpError is an error with an HTTP code that no gRPC code maps to.
type httpError struct {
	code int
	error
}

// Unwrap returns the error about the field.
func (e *httpError) Unwrap() error { return e.error }

// refuse answers an invalid request.
func refuse(w http.ResponseWriter, operation string, err error) {
	httpCode, answer := newStatusAnswer(operation, rtm.StatusError(operation, err))
	if httpErr, ok := errors.AsType[*httpError](err); ok {
		httpCode = httpErr.code
	}
	respond(w, httpCode, answer)
}

// writeError answers with the gRPC status of an operation.
func writeError(w http.ResponseWriter, operation string, err error) {
	httpCode, answer := newStatusAnswer(operation, err)
	respond(w, httpCode, answer)
}

// newStatusAnswer returns the answer for a gRPC status. If the status has no Status as a
// detail, its error code is that of LOCK_OPERATION_FAILED.
func newStatusAnswer(operation string, err error) (httpCode int, answer statusAnswer) {
	s := status.Convert(err)
	httpCode, ok := httpCodes[s.Code()]
	if !ok {
		httpCode = http.StatusInternalServerError
	}
	for _, detail := range s.Details() {
		if d, ok := detail.(*rtmpb.Status); ok {
			return httpCode, statusAnswer{d.GetErrorCode(), d.GetOperation(), d.GetReason()}
		}
	}
	return httpCode, statusAnswer{codeOperationFailed, operation, s.Message()}
}

// respond writes the answer of a request. It ignores write errors; the server closes the
// connection if the client does not read the answer.
func respond(w http.ResponseWriter, httpCode int, answer any) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(httpCode)
	_, _ = w.Write(append(marshal(answer), '\n'))
}

// marshal returns the JSON of an answer in one line. It cannot fail for the types above.
func marshal(answer any) []byte {
	text, _ := json.Marshal(answer)
	return text
}

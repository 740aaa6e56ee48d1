package rtmhttp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// scriptedServer returns a fixed answer, and records the request.
type scriptedServer struct {
	rtmpb.UnimplementedChannelLocksServer
	received proto.Message
	answer   proto.Message
	err      error
	events   func(grpc.ServerStreamingServer[rtmpb.LockEvent]) error
}

// scriptedReply records the request and returns the answer.
func scriptedReply[A proto.Message](s *scriptedServer, m proto.Message) (answer A, err error) {
	s.received = m
	if s.err == nil {
		answer = s.answer.(A)
	}
	return answer, s.err
}

func (s *scriptedServer) SetLock(_ context.Context, m *rtmpb.SetLockRequest) (*rtmpb.LockResponse, error) {
	return scriptedReply[*rtmpb.LockResponse](s, m)
}

func (s *scriptedServer) AcquireLock(_ context.Context, m *rtmpb.AcquireLockRequest) (*rtmpb.LockResponse, error) {
	return scriptedReply[*rtmpb.LockResponse](s, m)
}

func (s *scriptedServer) ReleaseLock(_ context.Context, m *rtmpb.ReleaseLockRequest) (*rtmpb.LockResponse, error) {
	return scriptedReply[*rtmpb.LockResponse](s, m)
}

func (s *scriptedServer) RevokeLock(_ context.Context, m *rtmpb.RevokeLockRequest) (*rtmpb.LockResponse, error) {
	return scriptedReply[*rtmpb.LockResponse](s, m)
}

func (s *scriptedServer) GetLock(_ context.Context, m *rtmpb.GetLockRequest) (*rtmpb.GetLockResponse, error) {
	return scriptedReply[*rtmpb.GetLockResponse](s, m)
}

func (s *scriptedServer) RemoveLock(_ context.Context, m *rtmpb.RemoveLockRequest) (*rtmpb.LockResponse, error) {
	return scriptedReply[*rtmpb.LockResponse](s, m)
}

func (s *scriptedServer) KeepAlive(_ context.Context, m *rtmpb.KeepAliveRequest) (*rtmpb.KeepAliveResponse, error) {
	return scriptedReply[*rtmpb.KeepAliveResponse](s, m)
}

func (s *scriptedServer) Logout(_ context.Context, m *rtmpb.LogoutRequest) (*rtmpb.LogoutResponse, error) {
	return scriptedReply[*rtmpb.LogoutResponse](s, m)
}

func (s *scriptedServer) Subscribe(m *rtmpb.SubscribeRequest, stream grpc.ServerStreamingServer[rtmpb.LockEvent]) error {
	s.received = m
	return s.events(stream)
}

func (s *scriptedServer) Session(m *rtmpb.SessionRequest, stream grpc.ServerStreamingServer[rtmpb.LockEvent]) error {
	s.received = m
	return s.events(stream)
}

// newEmptyServer returns a server whose answers are empty.
func newEmptyServer(operation string) *scriptedServer {
	s := &scriptedServer{events: func(grpc.ServerStreamingServer[rtmpb.LockEvent]) error { return nil }}
	switch operation {
	case "getLock":
		s.answer = &rtmpb.GetLockResponse{}
	case "keepAlive":
		s.answer = &rtmpb.KeepAliveResponse{}
	case "logout":
		s.answer = &rtmpb.LogoutResponse{}
	default:
		s.answer = &rtmpb.LockResponse{}
	}
	return s
}

// sendHTTP sends a request for the component "s".
func sendHTTP(s *scriptedServer, method, operation, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	Handler(s).ServeHTTP(w, httptest.NewRequest(method, "/v1/rtm/s/"+operation, strings.NewReader(body)))
	return w
}

func TestHandler_Answers(t *testing.T) {
	held := &rtmpb.LockDetail{LockName: "a", Owner: "u", Ttl: 30, LockRev: 1<<53 + 1}
	for _, row := range []struct {
		name, operation string
		answer          proto.Message
		want            string
	}{
		{"setLock", "setLock", &rtmpb.LockResponse{Channel: "c", ChannelType: ofMessages, LockName: "l", Ttl: 10},
			`{"errorCode":0,"channel":"c","channelType":"MESSAGE","lockName":"l","ttl":10}`},
		{"acquireLock", "acquireLock", &rtmpb.LockResponse{
			Channel: "c", ChannelType: ofStreams, LockName: "l", Ttl: 10, LockRev: 1<<64 - 1,
		}, `{"errorCode":0,"channel":"c","channelType":"STREAM","lockName":"l","ttl":10,"lockRev":18446744073709551615}`},
		{"releaseLock with a quoted name", "releaseLock", &rtmpb.LockResponse{Channel: "c", ChannelType: ofMessages, LockName: `"`},
			`{"errorCode":0,"channel":"c","channelType":"MESSAGE","lockName":"\""}`},
		{"getLock", "getLock", &rtmpb.GetLockResponse{
			Channel: "c", ChannelType: ofMessages, TotalLocks: 2, Locks: []*rtmpb.LockDetail{held, {LockName: "b", Ttl: 10}},
		}, `{"errorCode":0,"channel":"c","channelType":"MESSAGE","totalLocks":2,"locks":[` +
			`{"lockName":"a","owner":"u","ttl":30,"lockRev":9007199254740993},{"lockName":"b","owner":"","ttl":10,"lockRev":0}]}`},
		{"getLock without locks", "getLock", &rtmpb.GetLockResponse{Channel: "c", ChannelType: ofMessages},
			`{"errorCode":0,"channel":"c","channelType":"MESSAGE","totalLocks":0,"locks":[]}`},
		{"keepAlive without locks", "keepAlive", &rtmpb.KeepAliveResponse{}, `{"errorCode":0,"locks":[],"expired":[]}`},
		{"keepAlive with an expired lock", "keepAlive", &rtmpb.KeepAliveResponse{
			Locks: []*rtmpb.LockDetail{held}, Expired: []*rtmpb.LockDetail{{Channel: "c", ChannelType: ofStreams, LockName: "b"}},
		}, `{"errorCode":0,"locks":[{"lockName":"a","owner":"u","ttl":30,"lockRev":9007199254740993}],` +
			`"expired":[{"channel":"c","channelType":"STREAM","lockName":"b","owner":"","ttl":0,"lockRev":0}]}`},
		{"logout", "logout", &rtmpb.LogoutResponse{}, `{"errorCode":0}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := sendHTTP(&scriptedServer{answer: row.answer}, "POST", row.operation, "{}")
			if w.Code != http.StatusOK || w.Body.String() != row.want+"\n" {
				t.Errorf("answer = %d %s, want %s", w.Code, w.Body, row.want)
			}
			if h := w.Header(); h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" {
				t.Errorf("header = %v", h)
			}
		})
	}
}

// checkStatus checks an answer that is a Status. The reason is a part of its reason.
func checkStatus(t *testing.T, w *httptest.ResponseRecorder, httpCode int, errorCode int32, operation, reason string) {
	t.Helper()
	var got statusAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("answer = %d %q: %v", w.Code, w.Body, err)
	}
	if w.Code != httpCode || got.ErrorCode != errorCode || got.Operation != operation || !strings.Contains(got.Reason, reason) {
		t.Errorf("answer = %d %s, want %d, %d, %s and %q", w.Code, w.Body, httpCode, errorCode, operation, reason)
	}
}

func TestHandler_ErrorStatus(t *testing.T) {
	for code, want := range map[codes.Code]int{
		codes.InvalidArgument: 400, codes.Unauthenticated: 401, codes.NotFound: 404, codes.AlreadyExists: 409,
		codes.FailedPrecondition: 409, codes.Aborted: 409, codes.ResourceExhausted: 429, codes.DeadlineExceeded: 504,
		codes.Unavailable: 503, codes.Unimplemented: 501, codes.Internal: 500, codes.Canceled: 500,
	} {
		t.Run(code.String(), func(t *testing.T) {
			status := status.New(code, "bare")
			detailed, err := status.WithDetails(&rtmpb.Status{ErrorCode: -14007, Operation: "O", Reason: "held"})
			if err != nil {
				t.Fatal(err)
			}
			checkStatus(t, answerToError(detailed.Err(), "POST", "acquireLock"), want, -14007, "O", "held")
			checkStatus(t, answerToError(detailed.Err(), "GET", "session"), want, -14007, "O", "held")
			checkStatus(t, answerToError(status.Err(), "POST", "setLock"), want, -14001, "RTMSetLockOperation", "bare")
			checkStatus(t, answerToError(status.Err(), "GET", "session"), want, -14001, "RTMSessionOperation", "bare")
		})
	}
	checkStatus(t, answerToError(errors.New("no status"), "POST", "logout"), 500, -14001, "RTMLogoutOperation", "no status")
}

// answerToError returns the answer to a request if the server fails with err.
func answerToError(err error, method, operation string) *httptest.ResponseRecorder {
	s := &scriptedServer{err: err, events: func(grpc.ServerStreamingServer[rtmpb.LockEvent]) error { return err }}
	return sendHTTP(s, method, operation, "{}")
}

func TestHandler_OperationNames(t *testing.T) {
	for path, want := range map[string]string{
		"setLock": "RTMSetLockOperation", "acquireLock": "RTMAcquireOperation", "releaseLock": "RTMReleaseLockOperation",
		"revokeLock": "RTMRevokeLockOperation", "getLock": "RTMGetLockOperation", "removeLock": "RTMRemoveLockOperation",
		"subscribe": "RTMSubscribeOperation", "session": "RTMSessionOperation", "keepAlive": "RTMKeepAliveOperation",
		"logout": "RTMLogoutOperation",
	} {
		checkStatus(t, sendHTTP(newEmptyServer(path), "PATCH", path, ""), 405, -10014, want, "method must be ")
		w := httptest.NewRecorder()
		Refuse(w, httptest.NewRequest("GET", "/v1/rtm/s/"+path, nil), 401, "token is missing")
		checkStatus(t, w, 401, -10005, want, "token is missing")
	}
}

func TestHandler_UnknownOperation(t *testing.T) {
	for _, row := range []struct {
		name, method, operation string
		httpCode                int
		answered, reason, allow string
	}{
		{"no operation", "POST", "", 404, "RTMOperation", "path must be /v1/rtm/{store}/{operation}", ""},
		{"an unknown operation", "POST", "setlock", 404, "RTMOperation", "path must be", ""},
		{"a path that is too long", "POST", "setLock/x", 404, "RTMOperation", "path must be", ""},
		{"POST of a stream", "POST", "subscribe", 405, "RTMSubscribeOperation", "method must be GET", "GET"},
		{"HEAD of a stream", "HEAD", "session", 405, "RTMSessionOperation", "method must be GET, POST", "GET, POST"},
		{"GET of a request", "GET", "getLock", 405, "RTMGetLockOperation", "method must be POST", "POST"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newEmptyServer(row.operation)
			w := sendHTTP(s, row.method, row.operation, "{}")
			checkStatus(t, w, row.httpCode, -10014, row.answered, row.reason)
			if allow := w.Header().Get("Allow"); s.received != nil || allow != row.allow {
				t.Errorf("server received %v, Allow = %q, want %q", s.received, allow, row.allow)
			}
		})
	}
}

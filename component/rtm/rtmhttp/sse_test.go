package rtmhttp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mortise-lock/mortise/component/rtm"
	"github.com/mortise-lock/mortise/component/rtm/presence"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// eventSink is the server side of a stream.
type eventSink = grpc.ServerStreamingServer[rtmpb.LockEvent]

// testServer is an HTTP server with the Handler, whose connections are in memory and
// buffer few bytes.
type testServer struct{ listener *bufconn.Listener }

// newTestServer serves s until the test ends.
func newTestServer(t *testing.T, s rtmpb.ChannelLocksServer) testServer {
	l := bufconn.Listen(1 << 10)
	server := &http.Server{
		Handler: Handler(s), ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, Protocols: new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return testServer{l}
}

// http2Client returns a client of the server that uses HTTP/2.
func (s testServer) http2Client(t *testing.T) *http.Client {
	transport := &http.Transport{
		Protocols:   new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.listener.DialContext(ctx) },
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// send opens a connection and sends the text on it.
func (s testServer) send(t *testing.T, text string) net.Conn {
	t.Helper()
	conn, err := s.listener.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// listen requests a stream, and returns the answer.
func (s testServer) listen(t *testing.T, path string) *http.Response {
	t.Helper()
	conn := s.send(t, "GET /v1/rtm/s/"+path+" HTTP/1.1\r\nHost: h\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// streamEnd is the error of a stream, and its duration.
type streamEnd struct {
	duration time.Duration
	err      error
}

// newStreamingServer returns a server whose streams run send. It sends their ends to the
// channel.
func newStreamingServer(send func(eventSink) error) (*scriptedServer, <-chan streamEnd) {
	ended := make(chan streamEnd, 1)
	return &scriptedServer{events: func(stream eventSink) error {
		start := time.Now()
		err := send(stream)
		ended <- streamEnd{time.Since(start), err}
		return err
	}}, ended
}

func TestEventStream_Format(t *testing.T) {
	s, _ := newStreamingServer(func(stream eventSink) error {
		for _, m := range []*rtmpb.LockEvent{
			{EventType: rtmpb.LockEvent_SNAPSHOT, Channel: "c", ChannelType: ofMessages},
			{EventType: rtmpb.LockEvent_SNAPSHOT, Locks: []*rtmpb.LockDetail{
				{Channel: "c", ChannelType: ofStreams, LockName: "l", Owner: "u", Ttl: 30, LockRev: 1<<53 + 1},
			}},
			{EventType: rtmpb.LockEvent_ACQUIRED, Channel: "c", ChannelType: ofMessages, LockName: "l", Owner: "u", Ttl: 30, LockRev: 7},
			{EventType: rtmpb.LockEvent_REMOVED, Channel: "c", ChannelType: ofMessages, LockName: "\n"},
		} {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		return nil
	})
	w := sendHTTP(s, "GET", "subscribe?user=u&channel=c&channelType=1", "")
	want := `event: SNAPSHOT
data: {"eventType":1,"channel":"c","channelType":"MESSAGE","locks":[]}

event: SNAPSHOT
data: {"eventType":1,"locks":[` +
		`{"channel":"c","channelType":"STREAM","lockName":"l","owner":"u","ttl":30,"lockRev":9007199254740993}]}

event: ACQUIRED
data: {"eventType":4,"channel":"c","channelType":"MESSAGE","lockName":"l","owner":"u","ttl":30,"lockRev":7}

event: REMOVED
data: {"eventType":3,"channel":"c","channelType":"MESSAGE","lockName":"\n","owner":"","ttl":0,"lockRev":0}

`
	if w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("answer = %d %s, want %s", w.Code, w.Body, want)
	}
	if contentType := w.Header().Get("Content-Type"); contentType != "text/event-stream" {
		t.Errorf("Content-Type = %q", contentType)
	}
}

func TestEventStream_ErrorAfterEvents(t *testing.T) {
	s, _ := newStreamingServer(func(stream eventSink) error {
		if err := stream.SendMsg(&rtmpb.LockEvent{EventType: rtmpb.LockEvent_SNAPSHOT}); err != nil {
			return err
		}
		return rtm.StatusError("RTMSessionOperation", presence.ErrReplaced)
	})
	w := sendHTTP(s, "GET", "session?user=u", "")
	_, last, _ := strings.Cut(w.Body.String(), "\n\n")
	want := "event: ERROR\ndata: " + `{"errorCode":-10027,"operation":"RTMSessionOperation","reason":"the user has opened another session`
	if w.Code != http.StatusOK || !strings.HasPrefix(last, want) || !strings.HasSuffix(last, "\"}\n\n") {
		t.Errorf("answer = %d %s, want the last event %s", w.Code, w.Body, want)
	}
}

// sendNone sends no events until the stream ends.
func sendNone(stream eventSink) error {
	<-stream.Context().Done()
	return stream.Context().Err()
}

// sendOne sends one event, and no more until the stream ends.
func sendOne(stream eventSink) error {
	if err := stream.Send(&rtmpb.LockEvent{EventType: rtmpb.LockEvent_SET}); err != nil {
		return err
	}
	return sendNone(stream)
}

// sendContinuously sends events without pauses.
func sendContinuously(stream eventSink) (err error) {
	for err == nil {
		err = stream.Send(&rtmpb.LockEvent{EventType: rtmpb.LockEvent_SET})
	}
	return err
}

func TestEventStream_Heartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ended := newStreamingServer(sendOne)
		answer := newTestServer(t, s).listen(t, "subscribe")
		lines := bufio.NewReader(answer.Body)
		for range 2 {
			if _, err := lines.ReadString('\n'); err != nil { // the event
				t.Fatal(err)
			}
		}
		// Longer than the server's ReadTimeout and WriteTimeout.
		for i, begun := 0, time.Now(); i < 100; i++ {
			blank, err := lines.ReadString('\n')
			comment, _ := lines.ReadString('\n')
			if at := time.Since(begun); err != nil || blank != "\n" || comment != ":\n" || at != time.Duration(i+1)*heartbeatInterval {
				t.Fatalf("after %v: %q, %q, %v", at, blank, comment, err)
			}
		}
		select {
		case got := <-ended:
			t.Errorf("stream ended: %v", got)
		default:
		}
	})
}

func TestEventStream_ClientGone(t *testing.T) {
	for _, row := range []struct {
		name   string
		send   func(eventSink) error
		closes bool // closes the connection; otherwise the client does not read
		atMost time.Duration
	}{
		{"client disconnects", sendOne, true, 0},
		{"client disconnects before the first event", sendNone, true, 0},
		{"client disconnects while events are sent", sendContinuously, true, 0},
		{"client does not read events", sendContinuously, false, writeTimeout},
		{"client does not read heartbeats", sendOne, false, time.Hour},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, ended := newStreamingServer(row.send)
				conn := newTestServer(t, s).send(t, session)
				synctest.Wait()
				if row.closes {
					_ = conn.Close()
				}
				if got := <-ended; got.err == nil || got.duration > row.atMost {
					t.Errorf("stream ended after %v with %v, want an error within %v", got.duration, got.err, row.atMost)
				}
			})
		})
	}
}

// brokenWriter is a ResponseWriter whose client has disconnected.
type brokenWriter struct{ *httptest.ResponseRecorder }

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestEventStream_WriteFails(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, row := range []struct {
		name string
		ctx  context.Context
		w    http.ResponseWriter
		want error
	}{
		{"write error", t.Context(), brokenWriter{httptest.NewRecorder()}, io.ErrClosedPipe},
		{"canceled request", canceled, httptest.NewRecorder(), context.Canceled},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, ended := newStreamingServer(func(stream eventSink) error {
				err := stream.Send(&rtmpb.LockEvent{})
				if again := stream.Send(&rtmpb.LockEvent{}); !errors.Is(again, context.Canceled) || stream.Context().Err() == nil {
					t.Errorf("second Send = %v, want Canceled; error of the context = %v", again, stream.Context().Err())
				}
				return err
			})
			Handler(s).ServeHTTP(row.w, httptest.NewRequestWithContext(row.ctx, "GET", "/v1/rtm/s/session", nil))
			if got := <-ended; !errors.Is(got.err, row.want) {
				t.Errorf("stream = %v, want %v", got.err, row.want)
			}
		})
	}
}

// waitingServer is a server whose AcquireLock waits until its ctx ends, or a minute.
type waitingServer struct {
	scriptedServer
	ended atomic.Int32
}

func (s *waitingServer) AcquireLock(ctx context.Context, _ *rtmpb.AcquireLockRequest) (*rtmpb.LockResponse, error) {
	defer s.ended.Add(1)
	select {
	case <-time.After(time.Minute):
		return &rtmpb.LockResponse{LockName: "l"}, nil
	case <-ctx.Done():
		return nil, rtm.StatusError("RTMAcquireOperation", ctx.Err())
	}
}

// Requests whose answers take time.
const (
	session = "GET /v1/rtm/s/session HTTP/1.1\r\nHost: h\r\n\r\n"
	acquire = "POST /v1/rtm/s/acquireLock HTTP/1.1\r\nHost: h\r\nContent-Length: 14\r\n\r\n" + `{"retry":true}`
)

func TestHandler_LongWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, begun := newTestServer(t, &waitingServer{}).send(t, acquire), time.Now()
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode != http.StatusOK || time.Since(begun) != time.Minute {
			t.Errorf("answer after %v = %v, %v, want 200 after a minute", time.Since(begun), answer, err)
		}
	})
}

func TestHandler_HTTP2LongWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ended := newStreamingServer(func(stream eventSink) error {
			if err := sendOne(stream); err != nil && !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		})
		waiting := &waitingServer{scriptedServer: *s}
		client, begun := newTestServer(t, waiting).http2Client(t), time.Now()
		ctx, leave := context.WithCancel(t.Context())
		request, err := http.NewRequestWithContext(ctx, "GET", "http://h/v1/rtm/s/session", nil)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Body.Close()
		answer, err := client.Post("http://h/v1/rtm/s/acquireLock", "", strings.NewReader(`{"retry":true}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if took := time.Since(begun); answer.ProtoMajor != 2 || answer.StatusCode != http.StatusOK || took != time.Minute {
			t.Errorf("answer after %v = %v, want 200 by HTTP/2 after a minute", took, answer)
		}
		leave()
		if got := <-ended; got.err != nil || got.duration != time.Minute {
			t.Errorf("stream ended after %v with %v, want nil after a minute", got.duration, got.err)
		}
	})
}

func TestHandler_HTTP2SlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ended := newStreamingServer(sendContinuously)
		client := newTestServer(t, s).http2Client(t)
		stream, err := client.Get("http://h/v1/rtm/s/session")
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Body.Close()
		if got := <-ended; got.err == nil || got.duration != writeTimeout {
			t.Errorf("stream ended after %v with %v, want an error after %v", got.duration, got.err, writeTimeout)
		}
	})
}

func TestHandler_WaitEndsWithClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &waitingServer{}
		conn := newTestServer(t, s).send(t, acquire)
		synctest.Wait()
		if n := s.ended.Load(); n != 0 {
			t.Fatal("AcquireLock ended while its client was connected")
		}
		_ = conn.Close()
		synctest.Wait()
		if n := s.ended.Load(); n != 1 {
			t.Error("AcquireLock waits although its client has disconnected")
		}
	})
}

func TestHandler_SlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEmptyServer("acquireLock")
		half := strings.TrimSuffix(acquire, "true}")
		conn, begun := newTestServer(t, s).send(t, half), time.Now()
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if answer.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(body), "body did not arrive in time") {
			t.Errorf("answer = %v %s, %v, want 408", answer, body, err)
		}
		if waited := time.Since(begun); waited != 5*time.Second || s.received != nil {
			t.Errorf("answer after %v, want 5s; server received %v", waited, s.received)
		}
	})
}

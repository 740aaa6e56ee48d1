package rtmhttp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// heartbeatInterval is the time between two comments on a stream. Writing them detects
// clients that have disconnected.
const heartbeatInterval = 10 * time.Second

// eventStream writes the answer to a request as server-sent events. It implements gRPC's
// server stream. The header is written with the first event; before that the answer can
// still be an error.
type eventStream struct {
	ctx    context.Context // ends with the request, and after a failed write
	cancel context.CancelFunc
	w      http.ResponseWriter

	heartbeats sync.WaitGroup // has one goroutine from the first event on, until ctx ends
	mu         sync.Mutex     // guards w and started
	started    bool           // an event was sent
}

func newEventStream(w http.ResponseWriter, r *http.Request) *eventStream {
	s := &eventStream{w: w}
	s.ctx, s.cancel = context.WithCancel(r.Context())
	return s
}

// Send writes an event. It fails if the client does not read it within writeTimeout;
// later calls fail, too.
func (s *eventStream) Send(m *rtmpb.LockEvent) error {
	return s.writeEvent(m.GetEventType().String(), newEvent(m))
}

// Context returns a context that ends with the request, or after a failed write.
func (s *eventStream) Context() context.Context { return s.ctx }

// end writes the operation's error as the last event, stops the heartbeats and waits for
// them. If no event was written it returns the error, which can still be the answer.
func (s *eventStream) end(operation string, err error) error {
	if err != nil && s.started {
		_, answer := newStatusAnswer(operation, err)
		err = nil
		_ = s.writeEvent("ERROR", answer)
	}
	s.cancel()
	s.heartbeats.Wait()
	return err
}

func (s *eventStream) writeEvent(name string, data any) error {
	return s.write(fmt.Appendf(nil, "event: %s\ndata: %s\n\n", name, marshal(data)))
}

// write writes the text, and before the first one the header. A failed write ends the
// stream.
func (s *eventStream) write(text []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.ctx.Err()
	if err != nil {
		return err
	}
	if !s.started {
		s.start()
	}
	if err = writeInTime(s.w, text); err != nil {
		s.cancel()
	}
	return err
}

// writeInTime writes the text and flushes it, within writeTimeout. It clears the deadline
// afterwards, because in HTTP/2 an expired deadline ends the stream even between writes.
func writeInTime(w http.ResponseWriter, text []byte) error {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := control.Flush(); err != nil {
		return err
	}
	_ = control.SetWriteDeadline(time.Time{})
	return nil
}

func (s *eventStream) start() {
	s.started = true
	s.w.Header().Set("Content-Type", "text/event-stream")
	s.w.Header().Set("Cache-Control", "no-store")
	s.w.Header().Set("X-Accel-Buffering", "no") // otherwise nginx buffers events
	s.heartbeats.Go(s.sendHeartbeats)
}

// sendHeartbeats writes comments until the stream ends.
func (s *eventStream) sendHeartbeats() {
	ticker := time.NewTicker(heartbeatInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = s.write([]byte(":\n\n")) // a failure ends ctx
		case <-s.ctx.Done():
			return
		}
	}
}

// The remaining methods complete the interface of gRPC's streams. Metadata is ignored,
// and there are no messages to receive.

// SetHeader does nothing.
func (s *eventStream) SetHeader(metadata.MD) error { return nil }

// SendHeader does nothing.
func (s *eventStream) SendHeader(metadata.MD) error { return nil }

// SetTrailer does nothing.
func (s *eventStream) SetTrailer(metadata.MD) {}

// SendMsg calls Send.
func (s *eventStream) SendMsg(m any) error { return s.Send(m.(*rtmpb.LockEvent)) }

// RecvMsg fails with io.EOF.
func (s *eventStream) RecvMsg(any) error { return io.EOF }

package rtm

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

// beat is how often something is written to a stream on which nothing happens, lest a
// client be gone unnoticed.
const heartbeatInterval = 10 * time.Second

// eventStream is the answer to one request, as server-sent events. It is what a server
// takes for a stream of gRPC. The first event commits to it: until then, the answer can
// be another.
type eventStream struct {
	ctx    context.Context // ends with the request, and when something could not be written
	cancel context.CancelFunc
	w      http.ResponseWriter

	heartbeats sync.WaitGroup // has one goroutine from the first event on, until ctx ends
	mu         sync.Mutex     // guards w, and begun, which is false until the first event
	started    bool
}

func newEventStream(w http.ResponseWriter, r *http.Request) *eventStream {
	s := &eventStream{w: w}
	s.ctx, s.cancel = context.WithCancel(r.Context())
	return s
}

// Send writes an event. It fails if the client does not read it in time, and so does what
// comes after that.
func (s *eventStream) Send(m *rtmpb.LockEvent) error {
	return s.writeEvent(m.GetEventType().String(), newEvent(m))
}

// Context ends with the request, or when its client is lost.
func (s *eventStream) Context() context.Context { return s.ctx }

// end tells how the operation has ended, and waits until nothing is written anymore. If
// there was no event it returns the error, for an answer of the usual kind.
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

// write writes a text, and the header before it. After a failure there is nothing more to
// be written.
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

// writeInTime writes a text, and flushes it. It leaves no deadline, for HTTP/2 would end
// the stream by that, written to or not.
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
	s.w.Header().Set("X-Accel-Buffering", "no") // nginx would keep events until there are many
	s.heartbeats.Go(s.sendHeartbeats)
}

// keepBeating writes comments until the stream ends.
func (s *eventStream) sendHeartbeats() {
	ticker := time.NewTicker(heartbeatInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = s.write([]byte(":\n\n")) // if that fails, ctx ends
		case <-s.ctx.Done():
			return
		}
	}
}

// What follows makes the stream one of gRPC's. HTTP has no use for its metadata, and
// there is nothing to receive.

// SetHeader does nothing.
func (s *eventStream) SetHeader(metadata.MD) error { return nil }

// SendHeader does nothing.
func (s *eventStream) SendHeader(metadata.MD) error { return nil }

// SetTrailer does nothing.
func (s *eventStream) SetTrailer(metadata.MD) {}

// SendMsg is Send.
func (s *eventStream) SendMsg(m any) error { return s.Send(m.(*rtmpb.LockEvent)) }

// RecvMsg fails with io.EOF.
func (s *eventStream) RecvMsg(any) error { return io.EOF }

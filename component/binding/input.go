package binding

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	"github.com/mortise-lock/mortise/internal/sleep"
	"github.com/mortise-lock/mortise/stores"
)

// Limits of the pause between two attempts. Each pause is twice as long as the one
// before.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// errRejected reports an event that the app has rejected in every attempt.
var errRejected = errors.New("the app rejected the event")

// input is the service that delivers lock events to apps.
type input struct {
	daprpb.UnimplementedInputBindingServer
	service *Service
}

// Init initializes the binding; see [Service.Open].
func (i *input) Init(ctx context.Context, m *daprpb.InputBindingInitRequest) (*daprpb.InputBindingInitResponse, error) {
	return &daprpb.InputBindingInitResponse{}, i.service.init(ctx, m.GetMetadata())
}

// Ping returns an empty response.
func (i *input) Ping(context.Context, *daprpb.PingRequest) (*daprpb.PingResponse, error) {
	return &daprpb.PingResponse{}, nil
}

// Read delivers the events of the binding's keys and channels to the app until the stream
// ends, EndReading is called, or no more events can follow. daprd does not call Read
// again when a stream ends, so Read waits while the storage is unreachable. If this
// process ends the stream, Read returns an error, because daprd logs errors. The app then
// receives no events until its sidecar loads the binding again.
//
// The events of one entry are delivered in order: each waits until the app has
// acknowledged the one before. An event that the app rejects is delivered again. If the
// app rejects every attempt, the entry restarts with a snapshot, which is repeated until
// the app accepts it. So while the stream lasts, the app does not miss an event without a
// snapshot that reports this.
func (i *input) Read(stream daprpb.InputBinding_ReadServer) error {
	b, err := i.service.find(stream.Context())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer context.AfterFunc(i.service.readCtx, func() { cancel(nil) })()
	r := &eventSender{stream: stream, acks: map[string]chan<- *daprpb.ReadRequest{}}
	if !i.service.startReceiving(r, cancel) {
		return rpcstatus.Status(stores.ErrClosed)
	}
	if len(b.sources) == 0 {
		i.service.log.Infof("Binding %q has neither keys nor channels, its app receives no events", b.name)
	}
	var reading sync.WaitGroup
	for _, source := range b.sources {
		reading.Go(func() {
			if err := i.service.forward(ctx, b, source, r); err != nil {
				cancel(err)
			}
		})
	}
	reading.Wait()
	cancel(nil)
	switch err := context.Cause(ctx); {
	case !errors.Is(err, context.Canceled):
		return err
	case i.service.readCtx.Err() != nil:
		return rpcstatus.Status(stores.ErrClosed)
	}
	return nil
}

// startReceiving starts receiving the app's acknowledgements. This goroutine ends with
// the stream, which is after Read has returned. startReceiving returns false after
// EndReading.
func (s *Service) startReceiving(r *eventSender, end context.CancelCauseFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readCtx.Err() != nil {
		return false
	}
	s.receivers.Go(func() { r.receiveAcks(end) })
	return true
}

// forward delivers the source's events to the app until ctx ends. It returns an error if
// no events can follow.
func (s *Service) forward(ctx context.Context, b *binding, source source, r *eventSender) error {
	pause := minBackoff
	for missed := false; ; missed = true {
		err := source.watch(ctx, s, b, missed, func(event []byte) error {
			if err := r.deliver(ctx, event, b.retries); err != nil {
				return err
			}
			pause = minBackoff
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case isPermanent(err):
			s.log.Errorf("Ending the events of binding %q because of %s: %v", b.name, source, err)
			return err
		}
		s.log.Warnf("Restarting the events of binding %q for %s: %v", b.name, source, err)
		if !sleep.For(ctx, pause) {
			return nil
		}
		pause = min(2*pause, maxBackoff)
	}
}

// isPermanent reports whether a retry would fail in the same way.
func isPermanent(err error) bool {
	switch status.Code(err) {
	case codes.Unimplemented, codes.InvalidArgument, codes.Unauthenticated:
		return true
	}
	return false
}

// eventSender sends events to the app at the other end of the stream.
type eventSender struct {
	stream daprpb.InputBinding_ReadServer

	mu   sync.Mutex // held while sending
	last uint64
	acks map[string]chan<- *daprpb.ReadRequest // by message id; have a buffer of 1
}

// receiveAcks passes on the app's acknowledgements until the stream ends.
func (r *eventSender) receiveAcks(end context.CancelCauseFunc) {
	for {
		m, err := r.stream.Recv()
		if err != nil {
			end(nil)
			return
		}
		r.mu.Lock()
		if answer := r.acks[m.GetMessageId()]; answer != nil {
			delete(r.acks, m.GetMessageId())
			answer <- m
		}
		r.mu.Unlock()
	}
}

// deliver sends the app an event until the app accepts it or has rejected it after the
// given number of retries.
func (r *eventSender) deliver(ctx context.Context, event []byte, retries int) error {
	pause := minBackoff
	for left := retries; ; left-- {
		fault, err := r.deliverOnce(ctx, event)
		switch {
		case err != nil:
			return err
		case fault == nil:
			return nil
		case left == 0:
			return fmt.Errorf("%w: %s", errRejected, fault.GetMessage())
		case !sleep.For(ctx, pause):
			return ctx.Err()
		}
		pause = min(2*pause, maxBackoff)
	}
}

// deliverOnce sends the app an event and returns the app's error, nil if the app accepts
// the event.
func (r *eventSender) deliverOnce(ctx context.Context, event []byte) (*daprpb.AckResponseError, error) {
	answer := make(chan *daprpb.ReadRequest, 1)
	id, err := r.send(event, answer)
	if err != nil {
		return nil, err
	}
	select {
	case m := <-answer:
		return m.GetResponseError(), nil
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.acks, id)
		return nil, ctx.Err()
	}
}

// send sends an event whose acknowledgement goes to the channel.
func (r *eventSender) send(event []byte, answer chan<- *daprpb.ReadRequest) (id string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	id = strconv.FormatUint(r.last, 10)
	r.acks[id] = answer
	return id, r.stream.Send(&daprpb.ReadResponse{Data: event, ContentType: contentType, MessageId: id})
}

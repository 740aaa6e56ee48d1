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

const (
	// firstPause is before the first repetition of what has failed; each further pause is
	// twice as long, up to lastPause.
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// errRefused reports an event that the app has failed on as often as it was given it.
var errRejected = errors.New("the app has failed on it")

// input is the service that reads lock events to apps.
type input struct {
	daprpb.UnimplementedInputBindingServer
	service *Service
}

// Init initializes the binding; see [Service.Open].
func (i *input) Init(ctx context.Context, m *daprpb.InputBindingInitRequest) (*daprpb.InputBindingInitResponse, error) {
	return &daprpb.InputBindingInitResponse{}, i.service.init(ctx, m.GetMetadata())
}

// Ping answers.
func (i *input) Ping(context.Context, *daprpb.PingRequest) (*daprpb.PingResponse, error) {
	return &daprpb.PingResponse{}, nil
}

// Read tells the app of what the binding's metadata names, until the stream ends, or
// EndReading is called, or nothing can come any more. daprd does not read again after an
// end, so a storage that is away is waited for. An end that comes from here is an error,
// since that is what daprd logs; after it the app hears nothing until its sidecar loads
// the binding anew.
//
// What is told of one entry comes in order: each event waits for the app's answer to the
// one before. An event that the app fails on is given again, and if that does not help,
// the entry begins anew with a snapshot, which is given until it is taken. So as long as
// the stream lasts, the app misses nothing without being told that it has.
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
		i.service.log.Infof("Binding %q has neither keys nor channels, so its app is told nothing", b.name)
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

// receive lets the reader receive the app's answers until the stream ends, which is after
// Read has returned. It returns false after EndReading.
func (s *Service) startReceiving(r *eventSender, end context.CancelCauseFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readCtx.Err() != nil {
		return false
	}
	s.receivers.Go(func() { r.receiveAcks(end) })
	return true
}

// follow tells the app of the source's events until ctx ends, and returns an error if
// there can be none.
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
			s.log.Errorf("Binding %q ends reading because of %s: %v", b.name, source, err)
			return err
		}
		s.log.Warnf("Binding %q begins anew with %s: %v", b.name, source, err)
		if !sleep.For(ctx, pause) {
			return nil
		}
		pause = min(2*pause, maxBackoff)
	}
}

// hopeless tells whether asking again would change nothing.
func isPermanent(err error) bool {
	switch status.Code(err) {
	case codes.Unimplemented, codes.InvalidArgument, codes.Unauthenticated:
		return true
	}
	return false
}

// reader gives events to the app at the other end of the stream.
type eventSender struct {
	stream daprpb.InputBinding_ReadServer

	mu   sync.Mutex // held while sending
	last uint64
	acks map[string]chan<- *daprpb.ReadRequest // by message id: where the answer is awaited; has room for it
}

// receive passes on the app's answers until the stream ends.
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

// give gives the app an event until it has taken it, but not more often than retries say.
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

// giveOnce gives the app an event and returns what the app says of it, nil if all is
// well.
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

// send sends an event whose answer goes to the channel.
func (r *eventSender) send(event []byte, answer chan<- *daprpb.ReadRequest) (id string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	id = strconv.FormatUint(r.last, 10)
	r.acks[id] = answer
	return id, r.stream.Send(&daprpb.ReadResponse{Data: event, ContentType: contentType, MessageId: id})
}

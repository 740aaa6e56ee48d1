package locks

import (
	"context"
	"errors"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores"
)

// batchBytes is the size at which a list continues in another message. Clients accept
// messages of 4 MB by default. A message exceeds batchBytes by at most one lock, which is
// a few kilobytes.
const batchBytes = 1 << 20

// List sends the locks with the prefix. A client that reads slowly does not keep the
// store in use.
func (s *Service) List(m *lockspb.ListRequest, stream grpc.ServerStreamingServer[lockspb.ListResponse]) error {
	if err := validatePrefix(m.GetPrefix()); err != nil {
		return rpcstatus.Status(err)
	}
	ctx := stream.Context()
	var locks []stores.LockInfo
	err := s.do(ctx, m.GetStore(), func(store stores.Store) (err error) {
		locks, err = listLocks(ctx, store, m)
		return err
	})
	if err != nil {
		return rpcstatus.Status(err)
	}
	for piece := range batches(locks) {
		if err := stream.Send(&lockspb.ListResponse{Locks: piece}); err != nil {
			return err
		}
	}
	return nil
}

// listLocks returns the locks with the prefix, or the lock whose key is the prefix if the
// message asks for an exact match.
func listLocks(ctx context.Context, store stores.Store, m *lockspb.ListRequest) ([]stores.LockInfo, error) {
	if !m.GetExact() {
		return stores.List(ctx, store, m.GetPrefix())
	}
	if validateKey(m.GetPrefix(), "") != nil {
		return nil, nil // no lock has such a key
	}
	l, err := stores.Get(ctx, store, m.GetPrefix())
	if errors.Is(err, stores.ErrNotHeld) {
		return nil, nil
	}
	return []stores.LockInfo{l}, err
}

// Watch sends the locks with the prefix and then each change. A client that reads slowly
// delays the store's events for itself, but not the closing of the store.
func (s *Service) Watch(m *lockspb.WatchRequest, stream grpc.ServerStreamingServer[lockspb.WatchResponse]) error {
	if err := validatePrefix(m.GetPrefix()); err != nil {
		return rpcstatus.Status(err)
	}
	ctx, cancel := context.WithCancel(stream.Context())
	events, ended := make(chan stores.Event), make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- s.watch(ctx, m, events)
	}()
	defer func() {
		cancel()
		for range ended { // until the goroutine has ended
		}
	}()
	for {
		select {
		case e := <-events:
			if err := send(stream, e); err != nil {
				return err
			}
		case err := <-ended:
			return rpcstatus.Status(err)
		}
	}
}

// watch forwards the store's events until ctx ends or the store is about to close.
func (s *Service) watch(ctx context.Context, m *lockspb.WatchRequest, events chan<- stores.Event) error {
	return s.components.Wait(ctx, component(ctx, m.GetStore()), func(ctx context.Context, store stores.Store) error {
		return stores.Watch(ctx, store, m.GetPrefix(), func(e stores.Event) error {
			select {
			case events <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
}

// send sends an event in as many messages as it needs.
func send(stream grpc.ServerStreamingServer[lockspb.WatchResponse], e stores.Event) error {
	locks := e.Locks
	if e.Kind != stores.EventSnapshot {
		locks = []stores.LockInfo{e.Lock}
	}
	for piece, more := range batches(locks) {
		err := stream.Send(&lockspb.WatchResponse{
			Kind:     lockspb.WatchResponse_Kind(e.Kind), // the numbers are the same
			Revision: e.Revision,
			Locks:    piece,
			Missed:   e.Missed,
			More:     more,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// batches splits the locks into batches that fit into a message, each with whether more
// follow. It yields at least one batch.
func batches(locks []stores.LockInfo) iter.Seq2[[]*lockspb.Lock, bool] {
	return func(yield func(piece []*lockspb.Lock, more bool) bool) {
		var piece []*lockspb.Lock
		size := 0
		for _, l := range locks {
			row := lockMessage(l)
			if size > batchBytes {
				if !yield(piece, true) {
					return
				}
				piece, size = nil, 0
			}
			piece = append(piece, row)
			size += proto.Size(row)
		}
		yield(piece, false)
	}
}

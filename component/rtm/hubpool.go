package rtm

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/stores"
)

// hubPool holds the running hubs, one for each store that has subscribers or online
// users. A component may have several stores. A hubPool is safe for concurrent use.
type hubPool struct {
	log logger.Logger

	running    context.Context // canceled by close
	stop       context.CancelFunc
	goroutines sync.WaitGroup // grows only under mu and until running is canceled

	mu   sync.Mutex
	open map[instances.Instance]*hub
}

func newHubPool(log logger.Logger) *hubPool {
	s := &hubPool{log: log, open: map[instances.Instance]*hub{}}
	s.running, s.stop = context.WithCancel(context.Background())
	return s
}

// close ends all hubs and waits for their goroutines.
func (s *hubPool) close() {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.goroutines.Wait()
}

// use calls fn with the store's hub, whose state is complete. The hub runs at least until
// fn returns, unless its Watch fails.
func (s *hubPool) use(ctx context.Context, store instances.Instance, fn func(*hub) error) error {
	h, err := s.acquire(store)
	if err != nil {
		return err
	}
	defer s.release(h)
	select {
	case <-h.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := cmp.Or(h.watchError(), ctx.Err()); err != nil {
		// A canceled session must not replace one that the user has opened since.
		return err
	}
	return fn(h)
}

// acquire returns the store's hub and counts the use. It starts the hub if necessary.
func (s *hubPool) acquire(store instances.Instance) (*hub, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running.Err() != nil {
		return nil, stores.ErrClosed
	}
	h := s.open[store]
	if h == nil {
		h = newHub(store, s.log)
		s.open[store] = h
		s.start(h)
	}
	h.uses++
	if h.idleTimer != nil {
		h.idleTimer.Stop()
	}
	return h, nil
}

// start starts the hub's goroutine. The caller has locked mu.
func (s *hubPool) start(h *hub) {
	ctx, stop := context.WithCancel(s.running)
	h.stop = stop
	s.goroutines.Go(func() {
		defer stop()
		h.run(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.remove(h)
	})
}

// release ends a use of the hub. A hub that stays unused for idleTimeout ends.
func (s *hubPool) release(h *hub) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.uses--
	if h.uses > 0 || s.open[h.store] != h {
		return
	}
	h.idleTimer = time.AfterFunc(idleTimeout, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if h.uses == 0 {
			s.remove(h)
		}
	})
}

// remove stops the hub; the next call starts another. The caller has locked mu.
func (s *hubPool) remove(h *hub) {
	h.stop()
	if h.idleTimer != nil {
		h.idleTimer.Stop()
	}
	if s.open[h.store] == h {
		delete(s.open, h.store)
	}
}

// addGrant adds a grant to the hub of the user's store, if there is one, before the Watch
// reports it.
func (s *hubPool) addGrant(u user, l lock, grant stores.Grant) {
	s.mu.Lock()
	h := s.open[u.store]
	s.mu.Unlock()
	if h != nil {
		h.addUnconfirmed(heldLock{l, u.name, grant.TTL, grant.Token})
	}
}

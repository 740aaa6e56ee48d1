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

// hubs is the hubs that run, one for each store that somebody watches or is online in. A
// component may have several.
type hubPool struct {
	log logger.Logger

	running context.Context // ends with close
	stop    context.CancelFunc
	all     sync.WaitGroup // grows only under mu while running has not ended

	mu   sync.Mutex
	open map[instances.Instance]*hub
}

func newHubPool(log logger.Logger) *hubPool {
	s := &hubPool{log: log, open: map[instances.Instance]*hub{}}
	s.running, s.stop = context.WithCancel(context.Background())
	return s
}

// close ends all hubs and waits for them.
func (s *hubPool) close() {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.all.Wait()
}

// use calls fn with the store's hub, which knows the locks and goes on at least until fn
// returns, unless its Watch fails.
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
		return err // also for one who is gone by now: a session of his must not end the one that he has opened since
	}
	return fn(h)
}

// enter returns the store's hub, counted as used.
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

// start lets the hub run until it is stopped. The caller has locked mu.
func (s *hubPool) start(h *hub) {
	ctx, stop := context.WithCancel(s.running)
	h.stop = stop
	s.all.Go(func() {
		defer stop()
		h.run(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.remove(h)
	})
}

// leave counts the hub as no longer used. If nobody uses it for a while, it ends.
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

// forget stops the hub; who comes next gets another. The caller has locked mu.
func (s *hubPool) remove(h *hub) {
	h.stop()
	if h.idleTimer != nil {
		h.idleTimer.Stop()
	}
	if s.open[h.store] == h {
		delete(s.open, h.store)
	}
}

// granted lets the hub of the user's store, if there is one, know of a grant before its
// Watch tells.
func (s *hubPool) addGrant(u user, l lock, grant stores.Grant) {
	s.mu.Lock()
	h := s.open[u.store]
	s.mu.Unlock()
	if h != nil {
		h.addUnconfirmed(heldLock{l, u.name, grant.TTL, grant.Token})
	}
}

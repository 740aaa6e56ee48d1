package presence

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/component/instances"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

// OperationTimeout bounds every operation that does not wait for a lock. RTM's own
// clients use the same bound.
const OperationTimeout = 10 * time.Second

// User identifies a user. Users of two stores are different even if their names are
// equal.
type User struct {
	Store instances.Instance
	Name  string
}

// CheckFunc returns which of the claims are right, completed from the store, and which
// are wrong.
type CheckFunc func(ctx context.Context, claims []HeldLock) (right, wrong []HeldLock, err error)

// Pool holds the running hubs, one for each store that has subscribers or online users. A
// component may have several stores. A Pool is safe for concurrent use.
//
// Its methods fail with stores.ErrClosed after Close and when the store closes.
type Pool struct {
	log logger.Logger

	running    context.Context // canceled by Close
	stop       context.CancelFunc
	goroutines sync.WaitGroup // grows only under mu and until running is canceled

	mu   sync.Mutex
	open map[instances.Instance]*hub
}

// NewPool returns a pool without hubs. The caller must Close it.
func NewPool(log logger.Logger) *Pool {
	p := &Pool{log: log, open: map[instances.Instance]*hub{}}
	p.running, p.stop = context.WithCancel(context.Background())
	return p
}

// Close ends all hubs and their streams, and waits for their goroutines.
func (p *Pool) Close() {
	p.mu.Lock()
	p.stop()
	p.mu.Unlock()
	p.goroutines.Wait()
}

// use calls fn with the store's hub, whose state is complete. The hub runs at least until
// fn returns, unless its Watch fails.
func (p *Pool) use(ctx context.Context, store instances.Instance, fn func(*hub) error) error {
	h, err := p.acquire(store)
	if err != nil {
		return err
	}
	defer p.release(h)
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
func (p *Pool) acquire(store instances.Instance) (*hub, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running.Err() != nil {
		return nil, stores.ErrClosed
	}
	h := p.open[store]
	if h == nil {
		h = newHub(store, p.log)
		p.open[store] = h
		p.start(h)
	}
	h.uses++
	if h.idleTimer != nil {
		h.idleTimer.Stop()
	}
	return h, nil
}

// start starts the hub's goroutine. The caller has locked mu.
func (p *Pool) start(h *hub) {
	ctx, stop := context.WithCancel(p.running)
	h.stop = stop
	p.goroutines.Go(func() {
		defer stop()
		h.run(ctx)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.remove(h)
	})
}

// release ends a use of the hub. A hub that stays unused for idleTimeout ends.
func (p *Pool) release(h *hub) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.uses--
	if h.uses > 0 || p.open[h.store] != h {
		return
	}
	h.idleTimer = time.AfterFunc(idleTimeout, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if h.uses == 0 {
			p.remove(h)
		}
	})
}

// remove stops the hub; the next call starts another. The caller has locked mu.
func (p *Pool) remove(h *hub) {
	h.stop()
	if h.idleTimer != nil {
		h.idleTimer.Stop()
	}
	if p.open[h.store] == h {
		delete(p.open, h.store)
	}
}

// Subscribe sends a snapshot of the channel's locks and then its events, until ctx ends,
// send fails or the store closes.
func (p *Pool) Subscribe(ctx context.Context, store instances.Instance, c Channel, send func(*rtmpb.LockEvent) error) error {
	return p.use(ctx, store, func(h *hub) error {
		f := h.subscribe(c)
		defer h.unsubscribe(c, f)
		return h.stream(ctx, f, send)
	})
}

// Session keeps the user online and sends a snapshot and then the events of the user's
// locks, until ctx ends, send fails, the store closes, the user logs out or opens another
// session. It returns nil after a logout, and ErrReplaced if there is another session. It
// sends EXPIRED for claims that check rejects.
func (p *Pool) Session(ctx context.Context, u User, claims []HeldLock, check CheckFunc, send func(*rtmpb.LockEvent) error) error {
	return p.use(ctx, u.Store, func(h *hub) error {
		f := h.login(u.Name)
		defer h.endSession(u.Name, f)
		// After the login, so that no event is missed between the two.
		_, wrong, err := check(ctx, claims)
		if err != nil {
			return err
		}
		h.sendExpired(f, wrong)
		return h.stream(ctx, f, send)
	})
}

// KeepAlive renews all locks of the user for their TTL. It returns them, and the claims
// that check rejects.
func (p *Pool) KeepAlive(ctx context.Context, u User, claims []HeldLock, check CheckFunc) (held, expired []HeldLock, err error) {
	err = p.use(ctx, u.Store, func(h *hub) error {
		renewed := h.recentlyRenewed(u.Name)
		right, wrong, err := check(ctx, except(claims, renewed))
		if err != nil {
			return err
		}
		lease := offlineTTL
		if h.isOnline(u.Name) {
			lease = onlineTTL
		}
		rest := except(dedupe(append(h.heldLocks(u.Name), right...)), renewed)
		kept, err := h.renew(ctx, rest, lease)
		held, expired = append(renewed, kept...), wrong
		return err
	})
	return held, expired, err
}

// Logout ends the user's session. With release it releases the user's locks; otherwise
// they last for their TTL from now.
func (p *Pool) Logout(ctx context.Context, u User, release bool) error {
	return p.use(ctx, u.Store, func(h *hub) error {
		wasOnline := h.logout(u.Name)
		if release {
			return h.release(ctx, h.heldLocks(u.Name))
		}
		if wasOnline {
			return h.goOffline(ctx, u.Name)
		}
		return nil
	})
}

// AddGrant adds a grant to the hub of the user's store, if there is one, so that the lock
// is renewed before the Watch reports the grant.
func (p *Pool) AddGrant(u User, l Lock, grant stores.Grant) {
	p.mu.Lock()
	h := p.open[u.Store]
	p.mu.Unlock()
	if h != nil {
		h.addUnconfirmed(HeldLock{l, u.Name, grant.TTL, grant.Token})
	}
}

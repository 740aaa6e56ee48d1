package presence

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/component/instances"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

// idleTimeout is how long an unused hub continues to watch, because starting a Watch may
// make the storage scan all its keys.
const idleTimeout = time.Minute

// hub mirrors the locks of all channels of one store with a single Watch. Subscribers of
// channels, sessions of users and the renewer, which renews the locks of online users,
// share it. Each process on a storage has its own hub; a lock is renewed by the process
// that has the owner's session, whichever process granted it.
//
// The hub ends when its Watch ends, also when the store is replaced, and its streams end
// with it. The next call starts a new hub.
type hub struct {
	store instances.Instance // fixed, even if another store replaces the component's
	log   logger.Logger

	renewing sync.RWMutex // locked while the renewer renews

	ready chan struct{} // closed when the locks are known or the hub has ended
	ended chan struct{} // closed when the goroutines have ended (see err)

	mu          sync.Mutex // guards the fields down to err; no inner map is empty
	renewQueue  renewQueue
	locks       map[string]*entry             // declared locks, by key
	channels    map[string]map[string]*entry  // the same, by group and key
	held        map[string]map[string]*entry  // those with an owner, by owner and key
	subscribers map[string]map[*feed]struct{} // by group
	sessions    map[string]*feed              // of online users, by user
	// unconfirmedGrants are grants of this process that the Watch has not reported yet,
	// by owner and key.
	unconfirmedGrants map[string]map[string]*entry
	err               error // why the hub has ended

	// The mu of the hubPool guards these fields.
	uses      int         // number of calls and streams that use the hub
	idleTimer *time.Timer // ends the hub if uses stays 0
	stop      context.CancelFunc
}

// entry is the hub's state of one lock.
type entry struct {
	HeldLock
	key     string
	lastRev uint64 // the largest rev so far

	// These fields are valid while the owner is online.
	renewAt   time.Time // when the renewer renews the lock next
	heldUntil time.Time // end of the lease of the last renewal
}

func newHub(store instances.Instance, log logger.Logger) *hub {
	return &hub{
		store:             store,
		log:               log,
		renewQueue:        newRenewQueue(),
		ready:             make(chan struct{}),
		ended:             make(chan struct{}),
		locks:             map[string]*entry{},
		channels:          map[string]map[string]*entry{},
		held:              map[string]map[string]*entry{},
		subscribers:       map[string]map[*feed]struct{}{},
		sessions:          map[string]*feed{},
		unconfirmedGrants: map[string]map[string]*entry{},
	}
}

// run watches the store and renews locks until ctx or the Watch ends.
func (h *hub) run(ctx context.Context) {
	defer close(h.ended)
	ctx, cancel := context.WithCancel(ctx)
	var renewer sync.WaitGroup
	renewer.Go(func() { h.renewUntilDone(ctx) })
	err := h.store.Wait(ctx, func(ctx context.Context, store stores.Store) error {
		return stores.Watch(ctx, store, keyPrefix, func(e stores.Event) error {
			h.apply(e)
			return nil
		})
	})
	cancel()
	renewer.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err = err; errors.Is(err, context.Canceled) {
		h.err = stores.ErrClosed
	}
	h.markReady()
}

// watchError returns why the hub has ended, or nil.
func (h *hub) watchError() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// markReady closes ready. The caller has locked mu.
func (h *hub) markReady() {
	select {
	case <-h.ready:
	default:
		close(h.ready)
	}
}

// apply updates the hub's state with an event of the store, and publishes it.
func (h *hub) apply(e stores.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.Kind == stores.EventSnapshot {
		h.reset(e.Locks)
		h.markReady()
		return
	}
	switch l := h.locks[e.Lock.Key]; {
	case e.Kind == stores.EventDeclared:
		h.applyDeclared(e.Lock)
	case l == nil: // not declared, so not in a channel
	case e.Kind == stores.EventWithdrawn:
		h.applyWithdrawn(l)
	case e.Kind == stores.EventAcquired:
		h.setOwner(l, e.Lock.Owner, e.Lock.Token)
		h.publish(l.event(rtmpb.LockEvent_ACQUIRED))
	default:
		h.applyReleased(l, e.Kind)
	}
}

// reset replaces the state by a snapshot, and sends new snapshots to all streams.
func (h *hub) reset(locks []stores.LockInfo) {
	before := h.held
	h.renewQueue.Clear()
	h.locks, h.channels, h.held = map[string]*entry{}, map[string]map[string]*entry{}, map[string]map[string]*entry{}
	for _, row := range locks {
		h.addLock(row)
	}
	for _, grants := range h.unconfirmedGrants {
		for _, g := range grants {
			h.scheduleRenewal(g)
		}
	}
	for _, feeds := range h.subscribers {
		for f := range feeds {
			f.reset()
		}
	}
	for name, f := range h.sessions {
		f.reset()
		for _, was := range before[name] {
			if is := h.held[name][was.key]; is == nil || is.Rev != was.Rev {
				f.add(was.event(rtmpb.LockEvent_EXPIRED))
			}
		}
	}
}

func (h *hub) applyDeclared(info stores.LockInfo) {
	if l := h.addLock(info); l != nil {
		h.publish(l.event(rtmpb.LockEvent_SET))
	}
}

func (h *hub) applyWithdrawn(l *entry) {
	e := l.event(rtmpb.LockEvent_REMOVED)
	h.setOwner(l, "", 0)
	removeFromIndex(h.channels, l.Group(), l.key)
	delete(h.locks, l.key)
	h.publish(e)
}

// applyReleased removes the lock's owner. An expiry is reported as EXPIRED to the owner
// only; subscribers of the channel receive RELEASED.
func (h *hub) applyReleased(l *entry, kind stores.EventKind) {
	others, own := l.event(rtmpb.LockEvent_RELEASED), l.event(rtmpb.LockEvent_RELEASED)
	if kind == stores.EventExpired {
		own = l.event(rtmpb.LockEvent_EXPIRED)
	}
	h.setOwner(l, "", 0)
	h.publishToChannel(others)
	h.publishToOwner(own)
}

// addLock adds a declared lock and returns its entry, or nil if its key does not belong
// to a channel.
func (h *hub) addLock(info stores.LockInfo) *entry {
	name, ok := ParseKey(info.Key)
	if !ok || info.DeclaredTTL == 0 {
		return nil
	}
	l := &entry{HeldLock: HeldLock{Lock: name, TTL: info.DeclaredTTL}, key: info.Key}
	h.locks[l.key] = l
	addToIndex(h.channels, l.Group(), l.key, l)
	if info.Owner != "" {
		h.setOwner(l, info.Owner, info.Token)
	}
	return l
}

func (h *hub) setOwner(l *entry, owner string, rev uint64) {
	if l.Owner != "" {
		removeFromIndex(h.held, l.Owner, l.key)
		h.renewQueue.Delete(l)
	}
	l.Owner, l.Rev, l.lastRev, l.heldUntil = owner, rev, max(l.lastRev, rev), time.Time{}
	if owner == "" {
		return
	}
	addToIndex(h.held, owner, l.key, l)
	h.confirm(l)
	h.scheduleRenewal(l)
}

// scheduleRenewal queues the lock for renewal if its owner is online.
func (h *hub) scheduleRenewal(l *entry) {
	if h.sessions[l.Owner] != nil {
		h.renewQueue.schedule(l)
	}
}

// addUnconfirmed adds a grant that the Watch may report much later.
func (h *hub) addUnconfirmed(granted HeldLock) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := &entry{HeldLock: granted, key: granted.Key()}
	if l := h.locks[g.key]; l != nil && l.lastRev >= g.Rev {
		return
	}
	if earlier := h.unconfirmedGrants[g.Owner][g.key]; earlier != nil {
		h.removeUnconfirmed(earlier)
	}
	addToIndex(h.unconfirmedGrants, g.Owner, g.key, g)
	h.scheduleRenewal(g)
}

// confirm removes the unconfirmed grant that the Watch has reported as l.
func (h *hub) confirm(l *entry) {
	if g := h.unconfirmedGrants[l.Owner][l.key]; g != nil && g.Rev <= l.Rev {
		l.heldUntil = g.heldUntil
		h.removeUnconfirmed(g)
	}
}

// discard removes the unconfirmed grant that equals o, because the store has reported
// that the owner does not hold the lock.
func (h *hub) discard(o HeldLock) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g := h.unconfirmedGrants[o.Owner][o.Key()]; g != nil && g.Rev == o.Rev {
		h.removeUnconfirmed(g)
	}
}

func (h *hub) removeUnconfirmed(g *entry) {
	h.renewQueue.Delete(g)
	removeFromIndex(h.unconfirmedGrants, g.Owner, g.key)
}

// entriesOf yields the locks that the user holds or held recently. It may yield a lock
// twice.
func (h *hub) entriesOf(name string) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, l := range h.held[name] {
			if !yield(l) {
				return
			}
		}
		for _, g := range h.unconfirmedGrants[name] {
			if !yield(g) {
				return
			}
		}
	}
}

// heldLocks returns the locks that the user holds, and possibly some that the user held
// recently.
func (h *hub) heldLocks(name string) []HeldLock {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []HeldLock
	for l := range h.entriesOf(name) {
		all = append(all, l.HeldLock)
	}
	return dedupe(all)
}

// publish adds the event to the feeds of the channel and of the owner.
func (h *hub) publish(e *rtmpb.LockEvent) {
	h.publishToChannel(e)
	h.publishToOwner(e)
}

func (h *hub) publishToChannel(e *rtmpb.LockEvent) {
	for f := range h.subscribers[Channel{e.GetChannelType(), e.GetChannel()}.Group()] {
		f.add(e)
	}
}

func (h *hub) publishToOwner(e *rtmpb.LockEvent) {
	if f := h.sessions[e.GetOwner()]; f != nil {
		f.add(e)
	}
}

func addToIndex[V any](index map[string]map[string]V, at, key string, value V) {
	if index[at] == nil {
		index[at] = map[string]V{}
	}
	index[at][key] = value
}

func removeFromIndex[V any](index map[string]map[string]V, at, key string) {
	if delete(index[at], key); len(index[at]) == 0 {
		delete(index, at)
	}
}

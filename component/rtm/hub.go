package rtm

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

// linger is how long a hub goes on that nobody uses: beginning anew may cost the storage
// a walk over all its keys.
const idleTimeout = time.Minute

// hub knows the locks of all channels of one store, by one Watch for all who want to
// know: the subscribers of channels, the sessions of users, and the keeper, which renews
// what users hold who are online. Several processes on one storage have a hub each;
// whoever acquires by one of them is renewed by the one that has his session.
//
// When the Watch ends the hub does, and with it all its streams; so it does when the
// store is replaced. Who comes back gets a new one.
type hub struct {
	store instances.Instance // and no other, whatever the component's name means by now
	log   logger.Logger

	renewing sync.RWMutex // the keeper has it while it renews

	ready chan struct{} // closed when the locks are known, or never will be
	ended chan struct{} // closed when nothing of the hub runs any more; err is why

	mu                sync.Mutex
	renewQueue        renewQueue
	locks             map[string]*entry             // that are declared, by key
	channels          map[string]map[string]*entry  // the same, by group and key; none is empty
	held              map[string]map[string]*entry  // those that are held, by owner and key; none is empty
	subscribers       map[string]map[*feed]struct{} // by group; none is empty
	sessions          map[string]*feed              // of those who are online, by user
	unconfirmedGrants map[string]map[string]*entry  // what was granted here and the Watch has not told yet, by owner and key
	err               error                         // why the hub has ended

	// These are guarded by hubs.mu.
	uses      int         // how many calls and streams there are
	idleTimer *time.Timer // ends the hub if there are none
	stop      context.CancelFunc
}

// entry is a lock as the hub knows it.
type entry struct {
	heldLock
	key     string
	lastRev uint64 // the last rev

	// These are of use while the owner is online.
	renewAt   time.Time // when the keeper renews it
	heldUntil time.Time // to when it was renewed
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

// run watches and renews until ctx ends or the Watch does.
func (h *hub) run(ctx context.Context) {
	defer close(h.ended)
	ctx, cancel := context.WithCancel(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() { h.renewUntilDone(ctx) })
	err := h.store.Wait(ctx, func(ctx context.Context, store stores.Store) error {
		return stores.Watch(ctx, store, keyPrefix, func(e stores.Event) error {
			h.apply(e)
			return nil
		})
	})
	cancel()
	keeping.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err = err; errors.Is(err, context.Canceled) {
		h.err = stores.ErrClosed
	}
	h.markReady()
}

// failure is why the hub has ended, or nil.
func (h *hub) watchError() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// begin tells that ready is true. The caller has locked mu.
func (h *hub) markReady() {
	select {
	case <-h.ready:
	default:
		close(h.ready)
	}
}

// apply takes in what the store tells.
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
	case l == nil: // not declared, so no channel's
	case e.Kind == stores.EventWithdrawn:
		h.applyWithdrawn(l)
	case e.Kind == stores.EventAcquired:
		h.setOwner(l, e.Lock.Owner, e.Lock.Token)
		h.publish(l.event(rtmpb.LockEvent_ACQUIRED))
	default:
		h.applyReleased(l, e.Kind)
	}
}

// restart forgets everything for what is there now, and tells all.
func (h *hub) reset(locks []stores.LockInfo) {
	before := h.held
	h.renewQueue.Clear()
	h.locks, h.channels, h.held = map[string]*entry{}, map[string]map[string]*entry{}, map[string]map[string]*entry{}
	for _, row := range locks {
		h.addLock(row)
	}
	for _, notes := range h.unconfirmedGrants {
		for _, n := range notes {
			h.scheduleRenewal(n)
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
			if is := h.held[name][was.key]; is == nil || is.rev != was.rev {
				f.add(was.event(rtmpb.LockEvent_EXPIRED))
			}
		}
	}
}

func (h *hub) applyDeclared(row stores.LockInfo) {
	if l := h.addLock(row); l != nil {
		h.publish(l.event(rtmpb.LockEvent_SET))
	}
}

func (h *hub) applyWithdrawn(l *entry) {
	e := l.event(rtmpb.LockEvent_REMOVED)
	h.setOwner(l, "", 0)
	removeFromIndex(h.channels, l.group(), l.key)
	delete(h.locks, l.key)
	h.publish(e)
}

// released takes in that the lock has an owner no more. Only the owner is told that it
// has expired.
func (h *hub) applyReleased(l *entry, how stores.EventKind) {
	others, own := l.event(rtmpb.LockEvent_RELEASED), l.event(rtmpb.LockEvent_RELEASED)
	if how == stores.EventExpired {
		own = l.event(rtmpb.LockEvent_EXPIRED)
	}
	h.setOwner(l, "", 0)
	h.publishToChannel(others)
	h.publishToOwner(own)
}

// add adds a lock that is declared, unless its key is none of a channel's.
func (h *hub) addLock(row stores.LockInfo) *entry {
	name, ok := parseKey(row.Key)
	if !ok || row.DeclaredTTL == 0 {
		return nil
	}
	l := &entry{heldLock: heldLock{lock: name, ttl: row.DeclaredTTL}, key: row.Key}
	h.locks[l.key] = l
	addToIndex(h.channels, l.group(), l.key, l)
	if row.Owner != "" {
		h.setOwner(l, row.Owner, row.Token)
	}
	return l
}

func (h *hub) setOwner(l *entry, owner string, rev uint64) {
	if l.owner != "" {
		removeFromIndex(h.held, l.owner, l.key)
		h.renewQueue.Delete(l)
	}
	l.owner, l.rev, l.lastRev, l.heldUntil = owner, rev, max(l.lastRev, rev), time.Time{}
	if owner == "" {
		return
	}
	addToIndex(h.held, owner, l.key, l)
	if n := h.unconfirmedGrants[owner][l.key]; n != nil && n.rev <= rev {
		l.heldUntil = n.heldUntil
		h.removeUnconfirmed(n)
	}
	h.scheduleRenewal(l)
}

// remind has the lock renewed if its owner is online.
func (h *hub) scheduleRenewal(l *entry) {
	if h.sessions[l.owner] != nil {
		h.renewQueue.schedule(l)
	}
}

// note takes in a grant of which the Watch may tell a good deal later.
func (h *hub) addUnconfirmed(granted heldLock) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := &entry{heldLock: granted, key: granted.key()}
	if l := h.locks[n.key]; l != nil && l.lastRev >= n.rev {
		return
	}
	if earlier := h.unconfirmedGrants[n.owner][n.key]; earlier != nil {
		h.removeUnconfirmed(earlier)
	}
	addToIndex(h.unconfirmedGrants, n.owner, n.key, n)
	h.scheduleRenewal(n)
}

// strike takes back a note.
func (h *hub) removeUnconfirmed(n *entry) {
	h.renewQueue.Delete(n)
	removeFromIndex(h.unconfirmedGrants, n.owner, n.key)
}

// isWrong takes back a note that says the same and was seen to be wrong.
func (h *hub) discard(o heldLock) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.unconfirmedGrants[o.owner][o.key()]; n != nil && n.rev == o.rev {
		h.removeUnconfirmed(n)
	}
}

// belonging are the locks that the user holds, or has held a moment ago; some twice.
func (h *hub) entriesOf(name string) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, l := range h.held[name] {
			if !yield(l) {
				return
			}
		}
		for _, n := range h.unconfirmedGrants[name] {
			if !yield(n) {
				return
			}
		}
	}
}

// holdings returns what the user holds, and perhaps what he held a moment ago.
func (h *hub) heldLocks(name string) []heldLock {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []heldLock
	for l := range h.entriesOf(name) {
		all = append(all, l.heldLock)
	}
	return dedupe(all)
}

// tell tells the channel and the owner.
func (h *hub) publish(e *rtmpb.LockEvent) {
	h.publishToChannel(e)
	h.publishToOwner(e)
}

func (h *hub) publishToChannel(e *rtmpb.LockEvent) {
	for f := range h.subscribers[channel{e.GetChannelType(), e.GetChannel()}.group()] {
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

package rtm

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/tidwall/btree"

	"github.com/mortise-lock/mortise/stores"
)

const (
	// longestPeriod is how often a lock is renewed at least.
	maxRenewInterval = 5 * time.Second
)

// period is how often a lock with this TTL is renewed while its owner is online.
func renewInterval(ttl time.Duration) time.Duration { return min(ttl/5, maxRenewInterval) }

// online is the lease of a lock whose owner is online. Should this process die, at least
// the TTL is left of it.
func onlineLease(ttl time.Duration) time.Duration { return ttl + 2*renewInterval(ttl) }

// offline is the lease of a lock whose owner goes offline now.
func offlineLease(ttl time.Duration) time.Duration { return ttl }

// agenda is the locks of users who are online, by when they are to be renewed.
type renewQueue struct {
	*btree.BTreeG[*entry]
	added chan struct{} // has an element if something was added to the agenda
}

func newRenewQueue() renewQueue {
	byTime := func(a, b *entry) bool {
		if c := cmp.Or(a.renewAt.Compare(b.renewAt), cmp.Compare(a.key, b.key), cmp.Compare(a.rev, b.rev)); c != 0 {
			return c < 0
		}
		return a.owner < b.owner
	}
	return renewQueue{btree.NewBTreeGOptions(byTime, btree.Options{NoLocks: true}), make(chan struct{}, 1)}
}

// add has the lock renewed at once: the lease of a grant is no longer than its TTL.
func (a renewQueue) schedule(l *entry) {
	a.reschedule(l, time.Now())
	notify(a.added)
}

func (a renewQueue) reschedule(l *entry, due time.Time) {
	a.Delete(l)
	l.renewAt = due
	a.Set(l)
}

// keep renews the locks of users who are online until ctx ends.
func (h *hub) renewUntilDone(ctx context.Context) {
	timer := time.NewTimer(maxRenewInterval)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(h.renewDue(ctx))
		select {
		case <-timer.C:
		case <-h.renewQueue.added:
		case <-ctx.Done():
		}
	}
}

// round renews what is due, and returns for how long nothing else is.
func (h *hub) renewDue(ctx context.Context) time.Duration {
	h.renewing.Lock()
	defer h.renewing.Unlock()
	due, pause := h.takeDue(time.Now())
	if _, err := h.renew(ctx, due, onlineLease); err != nil && ctx.Err() == nil { // the next period tries again
		h.log.Warnf("Component %q: locks of users who are online could not be renewed: %v", h.store.Name(), err)
	}
	return pause
}

// goOffline lets the TTL of the user's locks count from now, after a round that may have
// been about to prolong them.
func (h *hub) goOffline(ctx context.Context, name string) error {
	h.renewing.RLock()
	defer h.renewing.RUnlock()
	_, err := h.renew(ctx, h.heldLocks(name), offlineLease)
	return err
}

// due returns the locks to be renewed now, and for how long there are no others. It plans
// when to renew them again.
func (h *hub) takeDue(now time.Time) (due []heldLock, pause time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		l, ok := h.renewQueue.Min()
		if !ok {
			return due, maxRenewInterval
		}
		if l.renewAt.After(now) {
			return due, l.renewAt.Sub(now)
		}
		due = append(due, l.heldLock)
		h.renewQueue.reschedule(l, now.Add(renewInterval(l.ttl)))
	}
}

// renew lets the locks last from now, for as long as lease makes of their TTLs. It
// returns those that their owners hold, and an error if the store could not be asked
// about all.
func (h *hub) renew(ctx context.Context, all []heldLock, lease func(ttl time.Duration) time.Duration) ([]heldLock, error) {
	held := make(chan heldLock, len(all))
	err := h.forEach(ctx, all, func(ctx context.Context, store stores.Store, o heldLock) error {
		until := time.Now().Add(lease(o.ttl))
		grant, err := stores.Renew(ctx, store, stores.Request{Key: o.key(), Owner: o.owner, TTL: lease(o.ttl)})
		if err != nil {
			return err
		}
		o.rev = grant.Token
		h.recordRenewal(o, until)
		held <- o
		return nil
	})
	return drain(held), err
}

// prolonged takes in until when the owner surely has the lock, unless it is taken from
// him.
func (h *hub) recordRenewal(o heldLock, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range []*entry{h.held[o.owner][o.key()], h.unconfirmedGrants[o.owner][o.key()]} {
		if l != nil && l.rev == o.rev {
			l.heldUntil = until
		}
	}
}

// sure returns what the user has for a TTL from now at least, unless it is taken from
// him: while he is online, all but what he was granted a moment ago.
func (h *hub) recentlyRenewed(name string) []heldLock {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []heldLock
	now := time.Now()
	for l := range h.entriesOf(name) {
		if l.heldUntil.Sub(now) >= l.ttl {
			all = append(all, l.heldLock)
		}
	}
	return dedupe(all)
}

// release frees the locks that their owners hold still.
func (h *hub) release(ctx context.Context, all []heldLock) error {
	return h.forEach(ctx, all, func(ctx context.Context, store stores.Store, o heldLock) error {
		return stores.Unlock(ctx, store, o.key(), o.owner)
	})
}

// each calls fn for the locks, some at once. That the owner does not hold one any more is
// no error, but worth a note.
func (h *hub) forEach(ctx context.Context, all []heldLock, fn func(context.Context, stores.Store, heldLock) error) error {
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	return h.store.Do(ctx, func(store stores.Store) error {
		return inParallel(all, func(o heldLock) error {
			err := fn(ctx, store, o)
			if errors.Is(err, stores.ErrNotHeld) || errors.Is(err, stores.ErrNotOwner) {
				h.discard(o)
				return nil
			}
			return err
		})
	})
}

package presence

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/tidwall/btree"

	"github.com/mortise-lock/mortise/component/rtm/internal/parallel"
	"github.com/mortise-lock/mortise/stores"
)

const (
	// maxRenewInterval is the longest time between two renewals of a lock.
	maxRenewInterval = 5 * time.Second
)

// renewInterval returns the time between two renewals of a lock with this TTL while its
// owner is online.
func renewInterval(ttl time.Duration) time.Duration { return min(ttl/5, maxRenewInterval) }

// onlineTTL returns the TTL of renewals while the owner is online: the lock's TTL plus
// two intervals, so that at least the lock's TTL remains if this process dies.
func onlineTTL(ttl time.Duration) time.Duration { return ttl + 2*renewInterval(ttl) }

// offlineTTL returns the TTL of the renewal when the owner goes offline.
func offlineTTL(ttl time.Duration) time.Duration { return ttl }

// renewQueue holds the locks of online users, ordered by the time of their next renewal.
type renewQueue struct {
	*btree.BTreeG[*entry]
	added chan struct{} // has an element if a lock was added to the queue
}

func newRenewQueue() renewQueue {
	byTime := func(a, b *entry) bool {
		if c := cmp.Or(a.renewAt.Compare(b.renewAt), cmp.Compare(a.key, b.key), cmp.Compare(a.Rev, b.Rev)); c != 0 {
			return c < 0
		}
		return a.Owner < b.Owner
	}
	return renewQueue{btree.NewBTreeGOptions(byTime, btree.Options{NoLocks: true}), make(chan struct{}, 1)}
}

// schedule queues the lock for renewal now, because the lease of a grant is only its TTL.
func (q renewQueue) schedule(l *entry) {
	q.reschedule(l, time.Now())
	notify(q.added)
}

func (q renewQueue) reschedule(l *entry, at time.Time) {
	q.Delete(l)
	l.renewAt = at
	q.Set(l)
}

// renewUntilDone renews the locks of online users until ctx ends.
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

// renewDue renews the locks that are due, and returns the time until the next one is due.
func (h *hub) renewDue(ctx context.Context) time.Duration {
	h.renewing.Lock()
	defer h.renewing.Unlock()
	due, pause := h.takeDue(time.Now())
	if _, err := h.renew(ctx, due, onlineTTL); err != nil && ctx.Err() == nil {
		h.log.Warnf("Renewing locks of online users of component %q failed, will retry: %v", h.store.Name(), err)
	}
	return pause
}

// goOffline renews the user's locks for their TTL from now. It waits for a running round
// of renewals, which could otherwise extend them afterwards.
func (h *hub) goOffline(ctx context.Context, name string) error {
	h.renewing.RLock()
	defer h.renewing.RUnlock()
	_, err := h.renew(ctx, h.heldLocks(name), offlineTTL)
	return err
}

// takeDue returns the locks that are due, and the time until the next one is due. It
// schedules their next renewals.
func (h *hub) takeDue(now time.Time) (due []HeldLock, pause time.Duration) {
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
		due = append(due, l.HeldLock)
		h.renewQueue.reschedule(l, now.Add(renewInterval(l.TTL)))
	}
}

// renew renews the locks from now for lease(TTL). It returns the locks that their owners
// still hold, and an error if a call to the store failed.
func (h *hub) renew(ctx context.Context, all []HeldLock, lease func(ttl time.Duration) time.Duration) ([]HeldLock, error) {
	held := make(chan HeldLock, len(all))
	err := h.forEach(ctx, all, func(ctx context.Context, store stores.Store, o HeldLock) error {
		until := time.Now().Add(lease(o.TTL))
		grant, err := stores.Renew(ctx, store, stores.Request{Key: o.Key(), Owner: o.Owner, TTL: lease(o.TTL)})
		if err != nil {
			return err
		}
		o.Rev = grant.Token
		h.recordRenewal(o, until)
		held <- o
		return nil
	})
	return drain(held), err
}

// recordRenewal records that the owner holds the lock until then unless it is revoked.
func (h *hub) recordRenewal(o HeldLock, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := o.Key()
	for _, l := range []*entry{h.held[o.Owner][key], h.unconfirmedGrants[o.Owner][key]} {
		if l != nil && l.Rev == o.Rev {
			l.heldUntil = until
		}
	}
}

// recentlyRenewed returns the locks that the user holds for at least a TTL from now
// unless they are revoked. While the user is online these are all locks but those that
// were granted just now.
func (h *hub) recentlyRenewed(name string) []HeldLock {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []HeldLock
	now := time.Now()
	for l := range h.entriesOf(name) {
		if l.heldUntil.Sub(now) >= l.TTL {
			all = append(all, l.HeldLock)
		}
	}
	return dedupe(all)
}

// release releases the locks that their owners still hold.
func (h *hub) release(ctx context.Context, all []HeldLock) error {
	return h.forEach(ctx, all, func(ctx context.Context, store stores.Store, o HeldLock) error {
		return stores.Release(ctx, store, o.Key(), o.Owner)
	})
}

// forEach calls fn for the locks, some concurrently. If fn reports that the owner does
// not hold the lock, forEach discards the lock's unconfirmed grant; that is not an error.
func (h *hub) forEach(ctx context.Context, all []HeldLock, fn func(context.Context, stores.Store, HeldLock) error) error {
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, OperationTimeout)
	defer cancel()
	return h.store.Do(ctx, func(store stores.Store) error {
		return parallel.ForEach(all, func(o HeldLock) error {
			err := fn(ctx, store, o)
			if errors.Is(err, stores.ErrNotHeld) || errors.Is(err, stores.ErrNotOwner) {
				h.discard(o)
				return nil
			}
			return err
		})
	})
}

// drain closes a buffered channel and returns the elements in its buffer.
func drain[T any](c chan T) []T {
	close(c)
	var all []T
	for element := range c {
		all = append(all, element)
	}
	return all
}

// notify sends to a channel with a buffer of one element, unless the buffer is full.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

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
	longestPeriod = 5 * time.Second
)

// period is how often a lock with this TTL is renewed while its owner is online.
func period(ttl time.Duration) time.Duration { return min(ttl/5, longestPeriod) }

// online is the lease of a lock whose owner is online. Should this process die, at least
// the TTL is left of it.
func online(ttl time.Duration) time.Duration { return ttl + 2*period(ttl) }

// offline is the lease of a lock whose owner goes offline now.
func offline(ttl time.Duration) time.Duration { return ttl }

// agenda is the locks of users who are online, by when they are to be renewed.
type agenda struct {
	*btree.BTreeG[*entry]
	sooner chan struct{} // has an element if something was added to the agenda
}

func newAgenda() agenda {
	byTime := func(a, b *entry) bool {
		if c := cmp.Or(a.due.Compare(b.due), cmp.Compare(a.key, b.key), cmp.Compare(a.rev, b.rev)); c != 0 {
			return c < 0
		}
		return a.owner < b.owner
	}
	return agenda{btree.NewBTreeGOptions(byTime, btree.Options{NoLocks: true}), make(chan struct{}, 1)}
}

// add has the lock renewed at once: the lease of a grant is no longer than its TTL.
func (a agenda) add(l *entry) {
	a.move(l, time.Now())
	poke(a.sooner)
}

func (a agenda) move(l *entry, due time.Time) {
	a.Delete(l)
	l.due = due
	a.Set(l)
}

// keep renews the locks of users who are online until ctx ends.
func (h *hub) keep(ctx context.Context) {
	timer := time.NewTimer(longestPeriod)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(h.round(ctx))
		select {
		case <-timer.C:
		case <-h.agenda.sooner:
		case <-ctx.Done():
		}
	}
}

// round renews what is due, and returns for how long nothing else is.
func (h *hub) round(ctx context.Context) time.Duration {
	h.rounds.Lock()
	defer h.rounds.Unlock()
	due, pause := h.due(time.Now())
	if _, err := h.renew(ctx, due, online); err != nil && ctx.Err() == nil { // the next period tries again
		h.log.Warnf("Component %q: locks of users who are online could not be renewed: %v", h.store.Name(), err)
	}
	return pause
}

// goOffline lets the TTL of the user's locks count from now, after a round that may have
// been about to prolong them.
func (h *hub) goOffline(ctx context.Context, name string) error {
	h.rounds.RLock()
	defer h.rounds.RUnlock()
	_, err := h.renew(ctx, h.holdings(name), offline)
	return err
}

// due returns the locks to be renewed now, and for how long there are no others. It plans
// when to renew them again.
func (h *hub) due(now time.Time) (due []holding, pause time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		l, ok := h.agenda.Min()
		if !ok {
			return due, longestPeriod
		}
		if l.due.After(now) {
			return due, l.due.Sub(now)
		}
		due = append(due, l.holding)
		h.agenda.move(l, now.Add(period(l.ttl)))
	}
}

// renew lets the locks last from now, for as long as lease makes of their TTLs. It
// returns those that their owners hold, and an error if the store could not be asked
// about all.
func (h *hub) renew(ctx context.Context, all []holding, lease func(ttl time.Duration) time.Duration) ([]holding, error) {
	held := make(chan holding, len(all))
	err := h.each(ctx, all, func(ctx context.Context, store stores.Store, o holding) error {
		until := time.Now().Add(lease(o.ttl))
		grant, err := stores.Renew(ctx, store, stores.Request{Key: o.key(), Owner: o.owner, TTL: lease(o.ttl)})
		if err != nil {
			return err
		}
		o.rev = grant.Token
		h.prolonged(o, until)
		held <- o
		return nil
	})
	return drained(held), err
}

// prolonged takes in until when the owner surely has the lock, unless it is taken from
// him.
func (h *hub) prolonged(o holding, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range []*entry{h.held[o.owner][o.key()], h.notes[o.owner][o.key()]} {
		if l != nil && l.rev == o.rev {
			l.until = until
		}
	}
}

// sure returns what the user has for a TTL from now at least, unless it is taken from
// him: while he is online, all but what he was granted a moment ago.
func (h *hub) sure(name string) []holding {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []holding
	now := time.Now()
	for l := range h.belonging(name) {
		if l.until.Sub(now) >= l.ttl {
			all = append(all, l.holding)
		}
	}
	return unique(all)
}

// release frees the locks that their owners hold still.
func (h *hub) release(ctx context.Context, all []holding) error {
	return h.each(ctx, all, func(ctx context.Context, store stores.Store, o holding) error {
		return stores.Unlock(ctx, store, o.key(), o.owner)
	})
}

// each calls fn for the locks, some at once. That the owner does not hold one any more is
// no error, but worth a note.
func (h *hub) each(ctx context.Context, all []holding, fn func(context.Context, stores.Store, holding) error) error {
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	return h.store.Do(ctx, func(store stores.Store) error {
		return inParallel(all, func(o holding) error {
			err := fn(ctx, store, o)
			if errors.Is(err, stores.ErrNotHeld) || errors.Is(err, stores.ErrNotOwner) {
				h.isWrong(o)
				return nil
			}
			return err
		})
	})
}

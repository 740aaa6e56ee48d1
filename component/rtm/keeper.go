package rtm

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/mortise-lock/mortise/stores"
)

const (
	// renewers is how many locks are renewed at once.
	renewers = 16
	// longestPeriod is how often a lock is renewed at least.
	longestPeriod = 5 * time.Second
)

// period is how often a lock with this TTL is renewed while its owner is online.
func period(ttl time.Duration) time.Duration { return min(ttl/5, longestPeriod) }

// online is the lease of a lock whose owner is online. Should this process die, at least the TTL is left of it.
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
		if !a.due.Equal(b.due) {
			return a.due.Before(b.due)
		}
		return a.key < b.key
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
		due, pause := h.due(time.Now())
		if len(due) > 0 {
			if _, err := h.renew(ctx, due, online); err != nil && ctx.Err() == nil { // the next period tries again
				h.log.Warnf("Component %q: locks of users who are online could not be renewed: %v", h.component, err)
			}
			continue
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-h.agenda.sooner:
		case <-ctx.Done():
		}
	}
}

// due returns the locks to be renewed now, and for how long there are no others. It plans when to renew them again.
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

// renew lets the locks last from now, for as long as lease makes of their TTLs. It returns those that their owners hold, and an
// error if the store could not be asked about all.
func (h *hub) renew(ctx context.Context, all []holding, lease func(ttl time.Duration) time.Duration) (held []holding, err error) {
	var mu sync.Mutex
	return held, h.each(ctx, all, func(ctx context.Context, store stores.Store, o holding) error {
		grant, err := stores.Renew(ctx, store, stores.Request{Key: o.key(), Owner: o.owner, TTL: lease(o.ttl)})
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		o.rev = grant.Token
		held = append(held, o)
		return nil
	})
}

// release frees the locks that their owners hold still.
func (h *hub) release(ctx context.Context, all []holding) error {
	return h.each(ctx, all, func(ctx context.Context, store stores.Store, o holding) error {
		return store.Unlock(ctx, o.key(), o.owner)
	})
}

// each calls fn for the locks, some at once. That the owner does not hold one any more is no error, but worth a note.
func (h *hub) each(ctx context.Context, all []holding, fn func(context.Context, stores.Store, holding) error) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	return h.components.Do(ctx, h.component, func(store stores.Store) error {
		errs := make([]error, len(all))
		turns := make(chan struct{}, renewers)
		var working sync.WaitGroup
		for i, o := range all {
			turns <- struct{}{}
			working.Go(func() {
				defer func() { <-turns }()
				errs[i] = fn(ctx, store, o)
				if errors.Is(errs[i], stores.ErrNotHeld) || errors.Is(errs[i], stores.ErrNotOwner) {
					h.strike(o)
					errs[i] = nil
				}
			})
		}
		working.Wait()
		return errors.Join(errs...)
	})
}

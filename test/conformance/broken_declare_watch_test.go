package conformance

import (
	"context"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// brokenDeclaredEvents are stores that tell the wrong events of declared locks.
var brokenDeclaredEvents = []broken{{
	what:   "first tells what is held only",
	caught: []string{"a snapshot has the declared locks"},
	with:   retells(func(e *stores.Event) { e.Locks = filter(e.Locks, isHeld) }),
}, {
	what:   "first tells what is held as if it were not declared",
	caught: []string{"a snapshot has the declared locks"},
	with: retells(func(e *stores.Event) {
		for i, l := range e.Locks {
			if isHeld(l) {
				e.Locks[i].DeclaredTTL = 0
			}
		}
	}),
}, {
	what:   "tells nothing of what is declared",
	caught: []string{"a watcher sees locks declared and withdrawn", "a watcher sees each change of a declared lock"},
	with:   tellsIf(func(e stores.Event) bool { return e.Kind != stores.EventDeclared }),
}, {
	what:   "tells nothing of what is withdrawn",
	caught: []string{"a watcher sees locks declared and withdrawn", "a watcher sees each change of a declared lock"},
	with:   tellsIf(func(e stores.Event) bool { return e.Kind != stores.EventWithdrawn }),
}, {
	what:   "tells no TTL with what is declared",
	caught: []string{"a watcher sees locks declared and withdrawn"},
	with:   retells(func(e *stores.Event) { e.Lock.DeclaredTTL = 0 }),
}, {
	what:   "tells that a lock is revoked and then that it is withdrawn",
	caught: []string{"a watcher sees each change of a declared lock"},
	with: tellsEach(func(e stores.Event) []stores.Event {
		if e.Kind != stores.EventWithdrawn || isFree(e.Lock) {
			return []stores.Event{e}
		}
		revoked := e
		revoked.Kind = stores.EventRevoked
		e.Lock = stores.LockInfo{Key: e.Lock.Key, DeclaredTTL: e.Lock.DeclaredTTL}
		return []stores.Event{revoked, e}
	}),
}, {
	what: "does not tell from whom a lock is withdrawn",
	caught: []string{
		"a watcher sees each change of a declared lock", "a watcher sees a withdrawal before the next grant",
	},
	with: retells(forgetsHolder(stores.EventWithdrawn)),
}, {
	what:   "does not tell who holds what is declared",
	caught: []string{"a watcher sees a held lock declared"},
	with:   retells(forgetsHolder(stores.EventDeclared)),
}, {
	what: "tells nothing of declared locks that expire",
	caught: []string{
		"a watcher sees a declared lock expire", "a watcher sees a lock expire before it is withdrawn",
	},
	with: tellsIf(func(e stores.Event) bool { return e.Kind != stores.EventExpired }),
}, {
	what:   "tells that a lock is withdrawn when it expires",
	caught: []string{"a watcher sees a declared lock expire"},
	with: tellsEach(func(e stores.Event) []stores.Event {
		if e.Kind != stores.EventExpired {
			return []stores.Event{e}
		}
		withdrawn := e
		withdrawn.Kind = stores.EventWithdrawn
		return []stores.Event{e, withdrawn}
	}),
}, {
	what:   "tells of declarations that are refused",
	caught: []string{"a rejected declaration sends no event"},
	with: func(f *faulty) {
		f.tellsAll()
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			err := f.Store.Declare(ctx, d)
			if err != nil {
				f.tellAll(stores.Event{Kind: stores.EventDeclared, Lock: stores.LockInfo{Key: d.Key, DeclaredTTL: d.TTL}})
			}
			return err
		}
	},
}, {
	what:   "tells of withdrawals that are refused",
	caught: []string{"a rejected declaration sends no event"},
	with: func(f *faulty) {
		f.tellsAll()
		f.withdraw = func(ctx context.Context, group, key string) error {
			err := f.Store.Withdraw(ctx, group, key)
			if err != nil {
				f.tellAll(stores.Event{Kind: stores.EventWithdrawn, Lock: stores.LockInfo{Key: key}})
			}
			return err
		}
	},
}, {
	what:   "tells of those who give up",
	caught: []string{"a wait that Unlock ends sends no event"},
	with: func(f *faulty) {
		f.tellsAll()
		f.unlock = func(ctx context.Context, key, owner string) error {
			holder := f.holder(key)
			err := f.Store.Unlock(ctx, key, owner)
			if err == nil && holder != owner {
				f.tellAll(stores.Event{Kind: stores.EventReleased, Lock: stores.LockInfo{Key: key, Owner: owner}})
			}
			return err
		}
	},
}, {
	what:   "tells of a withdrawal only if the lock is free afterwards",
	caught: []string{"a watcher sees a withdrawal before the next grant"},
	with: func(f *faulty) {
		tellsIf(func(e stores.Event) bool { return e.Kind != stores.EventWithdrawn || f.holder(e.Lock.Key) == "" })(f)
	},
}, {
	what:   "tells every watcher what is declared",
	caught: []string{"a watcher sees only declared locks under its prefix"},
	with: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			return f.Store.Watch(ctx, "", func(e stores.Event) error {
				e.Locks = filter(e.Locks, func(l stores.LockInfo) bool { return strings.HasPrefix(l.Key, prefix) })
				if e.Kind != stores.EventDeclared && !strings.HasPrefix(e.Lock.Key, prefix) && e.Kind != stores.EventSnapshot {
					return nil
				}
				return tell(e)
			})
		}
	},
}, {
	what:   "tells most declarations, and not each",
	caught: []string{"watchers of declared locks agree with the list"},
	with: func(f *faulty) {
		tellsIf(func(e stores.Event) bool { return e.Kind != stores.EventDeclared || e.Revision%7 != 0 })(f)
	},
}}

// forgetsHolder leaves out who holds the lock in events of the kind.
func forgetsHolder(kind stores.EventKind) func(e *stores.Event) {
	return func(e *stores.Event) {
		if e.Kind == kind {
			e.Lock = stores.LockInfo{Key: e.Lock.Key, DeclaredTTL: e.Lock.DeclaredTTL}
		}
	}
}

// tellsEach tells others than an event.
func tellsEach(instead func(e stores.Event) []stores.Event) func(*faulty) {
	return func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, tell func(stores.Event) error) error {
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				for _, e := range instead(e) {
					if err := tell(e); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
}

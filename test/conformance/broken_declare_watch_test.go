package conformance

import (
	"context"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// brokenDeclaredEvents send the wrong events of declared locks.
var brokenDeclaredEvents = []broken{{
	name:   "has only held locks in a snapshot",
	rows:   []string{"a snapshot has the declared locks"},
	inject: changeEvents(func(e *stores.Event) { e.Locks = filter(e.Locks, isHeld) }),
}, {
	name: "has no declared TTL of held locks in a snapshot",
	rows: []string{"a snapshot has the declared locks"},
	inject: changeEvents(func(e *stores.Event) {
		for i, l := range e.Locks {
			if isHeld(l) {
				e.Locks[i].DeclaredTTL = 0
			}
		}
	}),
}, {
	name:   "sends no event of declarations",
	rows:   []string{"a watcher sees locks declared and withdrawn", "a watcher sees each change of a declared lock"},
	inject: filterEvents(func(e stores.Event) bool { return e.Kind != stores.EventDeclared }),
}, {
	name:   "sends no event of withdrawals",
	rows:   []string{"a watcher sees locks declared and withdrawn", "a watcher sees each change of a declared lock"},
	inject: filterEvents(func(e stores.Event) bool { return e.Kind != stores.EventWithdrawn }),
}, {
	name:   "sends declarations without the TTL",
	rows:   []string{"a watcher sees locks declared and withdrawn"},
	inject: changeEvents(func(e *stores.Event) { e.Lock.DeclaredTTL = 0 }),
}, {
	name: "sends a revocation before a withdrawal",
	rows: []string{"a watcher sees each change of a declared lock"},
	inject: replaceEvents(func(e stores.Event) []stores.Event {
		if e.Kind != stores.EventWithdrawn || isFree(e.Lock) {
			return []stores.Event{e}
		}
		revoked := e
		revoked.Kind = stores.EventRevoked
		e.Lock = stores.LockInfo{Key: e.Lock.Key, DeclaredTTL: e.Lock.DeclaredTTL}
		return []stores.Event{revoked, e}
	}),
}, {
	name: "sends withdrawals without the holder",
	rows: []string{
		"a watcher sees each change of a declared lock", "a watcher sees a withdrawal before the next grant",
	},
	inject: changeEvents(removeHolder(stores.EventWithdrawn)),
}, {
	name:   "sends declarations without the holder",
	rows:   []string{"a watcher sees a held lock declared"},
	inject: changeEvents(removeHolder(stores.EventDeclared)),
}, {
	name: "sends no event of declared locks that expire",
	rows: []string{
		"a watcher sees a declared lock expire", "a watcher sees a lock expire before it is withdrawn",
	},
	inject: filterEvents(func(e stores.Event) bool { return e.Kind != stores.EventExpired }),
}, {
	name: "sends a withdrawal of locks that expire",
	rows: []string{"a watcher sees a declared lock expire"},
	inject: replaceEvents(func(e stores.Event) []stores.Event {
		if e.Kind != stores.EventExpired {
			return []stores.Event{e}
		}
		withdrawn := e
		withdrawn.Kind = stores.EventWithdrawn
		return []stores.Event{e, withdrawn}
	}),
}, {
	name: "sends events of rejected declarations",
	rows: []string{"a rejected declaration sends no event"},
	inject: func(f *faulty) {
		f.allowFakeEvents()
		f.declare = func(ctx context.Context, d stores.Declaration) error {
			err := f.Store.Declare(ctx, d)
			if err != nil {
				f.sendFakeEvent(stores.Event{Kind: stores.EventDeclared, Lock: stores.LockInfo{Key: d.Key, DeclaredTTL: d.TTL}})
			}
			return err
		}
	},
}, {
	name: "sends events of rejected withdrawals",
	rows: []string{"a rejected declaration sends no event"},
	inject: func(f *faulty) {
		f.allowFakeEvents()
		f.withdraw = func(ctx context.Context, group, key string) error {
			err := f.Store.Withdraw(ctx, group, key)
			if err != nil {
				f.sendFakeEvent(stores.Event{Kind: stores.EventWithdrawn, Lock: stores.LockInfo{Key: key}})
			}
			return err
		}
	},
}, {
	name: "sends an event when Release ends a wait",
	rows: []string{"a wait that Release ends sends no event"},
	inject: func(f *faulty) {
		f.allowFakeEvents()
		f.release = func(ctx context.Context, key, owner string) error {
			holder := f.holder(key)
			err := f.Store.Release(ctx, key, owner)
			if err == nil && holder != owner {
				f.sendFakeEvent(stores.Event{Kind: stores.EventReleased, Lock: stores.LockInfo{Key: key, Owner: owner}})
			}
			return err
		}
	},
}, {
	name: "sends withdrawals only of locks that become free",
	rows: []string{"a watcher sees a withdrawal before the next grant"},
	inject: func(f *faulty) {
		filterEvents(func(e stores.Event) bool { return e.Kind != stores.EventWithdrawn || f.holder(e.Lock.Key) == "" })(f)
	},
}, {
	name: "sends declarations to every watcher",
	rows: []string{"a watcher sees only declared locks under its prefix"},
	inject: func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			return f.Store.Watch(ctx, "", func(e stores.Event) error {
				e.Locks = filter(e.Locks, func(l stores.LockInfo) bool { return strings.HasPrefix(l.Key, prefix) })
				if e.Kind != stores.EventDeclared && !strings.HasPrefix(e.Lock.Key, prefix) && e.Kind != stores.EventSnapshot {
					return nil
				}
				return notify(e)
			})
		}
	},
}, {
	name: "skips every other declaration",
	rows: []string{"watchers of declared locks agree with the list"},
	inject: func(f *faulty) {
		filterEvents(func(e stores.Event) bool { return e.Kind != stores.EventDeclared || e.Revision%2 != 0 })(f)
	},
}}

// removeHolder removes the holder from events of the kind.
func removeHolder(kind stores.EventKind) func(e *stores.Event) {
	return func(e *stores.Event) {
		if e.Kind == kind {
			e.Lock = stores.LockInfo{Key: e.Lock.Key, DeclaredTTL: e.Lock.DeclaredTTL}
		}
	}
}

// replaceEvents sends other events instead of each event.
func replaceEvents(instead func(e stores.Event) []stores.Event) func(*faulty) {
	return func(f *faulty) {
		f.watch = func(ctx context.Context, prefix string, notify func(stores.Event) error) error {
			return f.Store.Watch(ctx, prefix, func(e stores.Event) error {
				for _, e := range instead(e) {
					if err := notify(e); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
}

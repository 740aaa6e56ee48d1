package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/mortise-lock/mortise/stores"
)

func brokenStores() []broken {
	return slices.Concat(brokenGrants, brokenUnlocks, brokenClients, brokenCalls, brokenNames(), brokenReserved, brokenLeases,
		brokenDeadlines, brokenTokens, brokenRaces, brokenRenewals, brokenLists, brokenMetadata, brokenWaits, brokenQueues,
		brokenCancels, brokenDeadlocks, brokenMultis, brokenMultiWaits, brokenRevokes, brokenDeclarations,
		brokenGroups, brokenWithdrawals, brokenMembers, brokenMemberTimes, brokenMemberWaits, brokenUnlockedWaits, brokenWithdrawnWaits,
		brokenDeclaredEvents, brokenDeclaredRaces, brokenSnapshots, brokenEvents, brokenWatches)
}

var brokenGrants = []broken{{
	name: "never grants",
	rows: []string{"a free lock is granted"},
	inject: func(f *faulty) {
		f.tryLock = func(context.Context, stores.Request) (stores.Grant, error) { return stores.Grant{}, nil }
	},
}, {
	name:   "returns no token",
	rows:   []string{"a grant has a token and a deadline"},
	inject: changeGrants(func(_ stores.Request, g *stores.Grant) { g.Token = 0 }),
}, {
	name:   "returns no TTL with a grant",
	rows:   []string{"a grant reports its TTL", "a grant of a declared lock reports its TTL"},
	inject: changeGrants(func(_ stores.Request, g *stores.Grant) { g.TTL = 0 }),
}, {
	name:   "grants a held lock",
	rows:   []string{"a held lock is refused to other owners", "a lock never has two holders"},
	inject: func(f *faulty) { f.tryLock = f.forceLock },
}, {
	name: "grants a held lock to its owner again",
	rows: []string{"a held lock is refused to its own owner"},
	inject: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if f.holder(req.Key) == req.Owner {
				return f.Store.Renew(ctx, req)
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	name: "returns the holder's token with a refusal",
	rows: []string{"a refusal is empty"},
	inject: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if l, held := f.lookup(req.Key); held {
				g.Token = l.Token
			}
			return g, err
		}
	},
}, {
	name: "gives the lock to the refused owner",
	rows: []string{"a refusal changes nothing"},
	inject: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if err == nil && !g.Acquired {
				_, err = f.forceLock(ctx, req)
			}
			return g, err
		}
	},
}, {
	name:   "has one lock for all keys",
	rows:   []string{"locks of different keys are independent"},
	inject: changeKeys(func(string) string { return "lock" }),
}, {
	name:   "has one lock for each owner",
	rows:   []string{"an owner holds several locks"},
	inject: changeRequests(func(req *stores.Request) { req.Key = req.Owner }),
}}

var brokenUnlocks = []broken{{
	name:   "does not unlock",
	rows:   []string{"unlock frees the lock"},
	inject: func(f *faulty) { f.unlock = func(context.Context, string, string) error { return nil } },
}, {
	name: "grants a lock to each owner only once",
	rows: []string{"an owner acquires a lock again", "an owner acquires its expired lock again"},
	inject: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, served := f.shared.LoadOrStore(req.Key+req.Owner, true); served {
				return stores.Grant{}, nil
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	name: "returns no error for a lock that is not held",
	rows: []string{"a lock that was never acquired is not held", "a lock is released once", "one of many concurrent unlocks succeeds"},
	inject: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if err := f.Store.Unlock(ctx, key, owner); !errors.Is(err, stores.ErrNotHeld) {
				return err
			}
			return nil
		}
	},
}, {
	name:   "lets any owner unlock",
	rows:   []string{"another owner cannot unlock"},
	inject: func(f *faulty) { f.retryUnlockAsHolder(stores.ErrNotOwner) },
}, {
	name: "returns ErrNotHeld to another owner",
	rows: []string{"another owner cannot unlock"},
	inject: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if err := f.Store.Unlock(ctx, key, owner); err != nil {
				return stores.ErrNotHeld
			}
			return nil
		}
	},
}, {
	name: "lets a former owner unlock",
	rows: []string{
		"a former owner cannot unlock",
		"a late owner cannot release its successor's lock",
	},
	inject: func(f *faulty) {
		changeGrants(func(req stores.Request, _ *stores.Grant) { f.shared.Store(req.Key+req.Owner, true) })(f)
		f.unlock = func(ctx context.Context, key, owner string) error {
			if _, once := f.shared.Load(key + owner); once && f.holder(key) != "" {
				owner = f.holder(key)
			}
			return f.Store.Unlock(ctx, key, owner)
		}
	},
}}

var brokenClients = []broken{{
	name: "has separate locks for each client",
	rows: []string{"clients of one storage share its locks"},
	inject: func(f *faulty) {
		own := fmt.Sprintf("%p", f)
		changeKeys(func(key string) string { return key + own })(f)
	},
}, {
	name: "treats the connection as the owner",
	rows: []string{"an owner unlocks through another client"},
	inject: func(f *faulty) {
		own := fmt.Sprintf("%p", f)
		changeOwners(func(owner string) string { return owner + own })(f)
	},
}, {
	name: "releases its locks in Close",
	rows: []string{"locks outlive their client"},
	inject: func(f *faulty) {
		var mine sync.Map
		changeGrants(func(req stores.Request, _ *stores.Grant) { mine.Store(req.Key, req.Owner) })(f)
		f.close = func() error {
			for key, owner := range mine.Range {
				_ = f.Store.Unlock(context.Background(), key.(string), owner.(string))
			}
			return f.Store.Close()
		}
	},
}, {
	name: "closes all clients of the storage",
	rows: []string{"closing one client leaves the others open"},
	inject: func(f *faulty) {
		f.shared.Store(f, true)
		f.close = func() error {
			for other := range f.shared.Range {
				_ = other.(*faulty).Store.Close()
			}
			return nil
		}
	},
}, {
	name: "fails a second Close",
	rows: []string{"a client can be closed twice"},
	inject: func(f *faulty) {
		closed := false
		f.close = func() error {
			if closed {
				return stores.ErrClosed
			}
			closed = true
			return f.Store.Close()
		}
	},
}, {
	name:   "continues after Close",
	rows:   []string{"a closed client returns ErrClosed"},
	inject: func(f *faulty) { f.close = func() error { return nil } },
}, {
	name:   "answers a ping after Close",
	rows:   []string{"a closed client returns ErrClosed"},
	inject: func(f *faulty) { f.ping = func(ctx context.Context) error { return ctx.Err() } },
}, {
	name: "returns connection errors during Close",
	rows: []string{"a call during Close succeeds or fails with ErrClosed"},
	inject: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			pause()
			g, err := f.Store.TryLock(ctx, req)
			if errors.Is(err, stores.ErrClosed) {
				err = errors.New("use of closed network connection")
			}
			return g, err
		}
	},
}}

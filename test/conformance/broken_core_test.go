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
		brokenDeadlines, brokenTokens, brokenCrowds, brokenRenewals, brokenLists, brokenMetadata, brokenWaits, brokenLines,
		brokenCancels, brokenDeadlocks, brokenMultis, brokenMultiWaits, brokenRevokes, brokenDeclarations,
		brokenGroups, brokenWithdrawals, brokenMembers, brokenMemberTimes, brokenMemberWaits, brokenGivingUp, brokenWithdrawnWaits,
		brokenDeclaredEvents, brokenDeclaredCrowds, brokenSnapshots, brokenEvents, brokenWatches)
}

var brokenGrants = []broken{{
	what:   "never grants",
	caught: []string{"a free lock is granted"},
	with: func(f *faulty) {
		f.tryLock = func(context.Context, stores.Request) (stores.Grant, error) { return stores.Grant{}, nil }
	},
}, {
	what:   "gives no token",
	caught: []string{"a grant has a token and a deadline"},
	with:   answers(func(_ stores.Request, g *stores.Grant) { g.Token = 0 }),
}, {
	what:   "tells no TTL with a grant",
	caught: []string{"a grant reports its TTL", "a grant of a declared lock reports its TTL"},
	with:   answers(func(_ stores.Request, g *stores.Grant) { g.TTL = 0 }),
}, {
	what:   "grants twice",
	caught: []string{"a held lock is refused to other owners", "a lock never has two holders"},
	with:   func(f *faulty) { f.tryLock = f.take },
}, {
	what:   "grants again to the same owner",
	caught: []string{"a held lock is refused to its own owner"},
	with: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if f.holder(req.Key) == req.Owner {
				return f.Store.Renew(ctx, req)
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	what:   "tells the holder's token in a refusal",
	caught: []string{"a refusal is empty"},
	with: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if l, held := f.lock(req.Key); held {
				g.Token = l.Token
			}
			return g, err
		}
	},
}, {
	what:   "writes down the owner that it refuses",
	caught: []string{"a refusal changes nothing"},
	with: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.TryLock(ctx, req)
			if err == nil && !g.Acquired {
				_, err = f.take(ctx, req)
			}
			return g, err
		}
	},
}, {
	what:   "has one lock for all keys",
	caught: []string{"locks of different keys are independent"},
	with:   renames(func(string) string { return "lock" }),
}, {
	what:   "gives each owner one lock",
	caught: []string{"an owner holds several locks"},
	with:   asks(func(req *stores.Request) { req.Key = req.Owner }),
}}

var brokenUnlocks = []broken{{
	what:   "forgets to unlock",
	caught: []string{"unlock frees the lock"},
	with:   func(f *faulty) { f.unlock = func(context.Context, string, string) error { return nil } },
}, {
	what:   "serves each owner once",
	caught: []string{"an owner acquires a lock again", "an owner acquires its expired lock again"},
	with: func(f *faulty) {
		f.tryLock = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			if _, served := f.notes.LoadOrStore(req.Key+req.Owner, true); served {
				return stores.Grant{}, nil
			}
			return f.Store.TryLock(ctx, req)
		}
	},
}, {
	what:   "is content when there is nothing to unlock",
	caught: []string{"a lock that was never acquired is not held", "a lock is released once", "one of many concurrent unlocks succeeds"},
	with: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if err := f.Store.Unlock(ctx, key, owner); !errors.Is(err, stores.ErrNotHeld) {
				return err
			}
			return nil
		}
	},
}, {
	what:   "lets anybody unlock",
	caught: []string{"another owner cannot unlock"},
	with:   func(f *faulty) { f.unlocks(stores.ErrNotOwner) },
}, {
	what:   "does not tell who is not the owner from what is not held",
	caught: []string{"another owner cannot unlock"},
	with: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if err := f.Store.Unlock(ctx, key, owner); err != nil {
				return stores.ErrNotHeld
			}
			return nil
		}
	},
}, {
	what: "frees a successor's lock",
	caught: []string{
		"a former owner cannot unlock",
		"a late owner cannot release its successor's lock",
	},
	with: func(f *faulty) {
		answers(func(req stores.Request, _ *stores.Grant) { f.notes.Store(req.Key+req.Owner, true) })(f)
		f.unlock = func(ctx context.Context, key, owner string) error {
			if _, once := f.notes.Load(key + owner); once && f.holder(key) != "" {
				owner = f.holder(key)
			}
			return f.Store.Unlock(ctx, key, owner)
		}
	},
}}

var brokenClients = []broken{{
	what:   "keeps its locks to itself",
	caught: []string{"clients of one storage share its locks"},
	with: func(f *faulty) {
		own := fmt.Sprintf("%p", f)
		renames(func(key string) string { return key + own })(f)
	},
}, {
	what:   "takes the connection for the owner",
	caught: []string{"an owner unlocks through another client"},
	with: func(f *faulty) {
		own := fmt.Sprintf("%p", f)
		readdresses(func(owner string) string { return owner + own })(f)
	},
}, {
	what:   "gives its locks back when it is closed",
	caught: []string{"locks outlive their client"},
	with: func(f *faulty) {
		var mine sync.Map
		answers(func(req stores.Request, _ *stores.Grant) { mine.Store(req.Key, req.Owner) })(f)
		f.close = func() error {
			for key, owner := range mine.Range {
				_ = f.Store.Unlock(context.Background(), key.(string), owner.(string))
			}
			return f.Store.Close()
		}
	},
}, {
	what:   "closes the storage for everybody",
	caught: []string{"closing one client leaves the others open"},
	with: func(f *faulty) {
		f.notes.Store(f, true)
		f.close = func() error {
			for other := range f.notes.Range {
				_ = other.(*faulty).Store.Close()
			}
			return nil
		}
	},
}, {
	what:   "cannot be closed twice",
	caught: []string{"a client can be closed twice"},
	with: func(f *faulty) {
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
	what:   "works on after Close",
	caught: []string{"a closed client returns ErrClosed"},
	with:   func(f *faulty) { f.close = func() error { return nil } },
}, {
	what:   "answers a ping after Close",
	caught: []string{"a closed client returns ErrClosed"},
	with:   func(f *faulty) { f.ping = func(ctx context.Context) error { return ctx.Err() } },
}, {
	what:   "tears down what its calls are using",
	caught: []string{"a call during Close succeeds or fails with ErrClosed"},
	with: func(f *faulty) {
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

package conformance

import (
	"context"
	"errors"
	"sync"

	"github.com/mortise-lock/mortise/stores"
)

// clientRows test several clients of one storage, and Close.
var clientRows = []row{{
	name: "clients of one storage share its locks",
	rule: "A lock that one client has acquired is held for every client of the same storage.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		other.mustRefuse("disk", "bob")
		s.mustUnlock("disk", "ann")
		other.mustLock("disk", "bob")
		s.mustRefuse("disk", "ann")
	},
}, {
	name: "an owner unlocks through another client",
	rule: "The owner string identifies the holder, not the client or the connection.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		other.unlockFails("disk", "bob", stores.ErrNotOwner)
		other.mustUnlock("disk", "ann")
		s.mustLock("disk", "bob")
	},
}, {
	name: "locks outlive their client",
	rule: "Close does not release locks.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		f.want(s.Close() == nil, "Close failed")
		other.mustRefuse("disk", "bob")
		f.open().mustUnlock("disk", "ann")
	},
}, {
	name: "closing one client leaves the others open",
	rule: "Close closes this client and no other client of the storage.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		f.want(s.Close() == nil, "Close failed")
		other.mustLock("disk", "ann")
		other.mustUnlock("disk", "ann")
	},
}, {
	name: "a client can be closed twice",
	rule: "A second Close returns nil.",
	check: func(f *fixture) {
		s := f.open()
		for range 2 {
			err := s.Close()
			f.want(err == nil, "Close returned %v", err)
		}
	},
}, {
	name: "a closed client returns ErrClosed",
	rule: "Calls after Close fail with ErrClosed, except a second Close.",
	check: func(f *fixture) {
		s := f.open()
		_ = s.Close()
		for _, c := range s.calls("disk", "ann") {
			ctx, cancel := f.callContext()
			err := c.do(ctx)
			cancel()
			f.want(errors.Is(err, stores.ErrClosed), "%s returned %v", c.op, err)
		}
	},
}, {
	name: "a call during Close succeeds or fails with ErrClosed",
	rule: "A call in progress when the client is closed succeeds or fails with ErrClosed.",
	check: func(f *fixture) {
		for range 20 {
			closeDuringCalls(f)
		}
	},
}}

func closeDuringCalls(f *fixture) {
	s := f.open()
	var callers sync.WaitGroup
	for i := range 4 {
		callers.Go(func() {
			_, err := s.tryLock(nth("disk", i), "ann", lease)
			f.want(err == nil || errors.Is(err, stores.ErrClosed), "TryLock during Close returned %v", err)
		})
	}
	f.want(s.Close() == nil, "Close failed")
	callers.Wait()
}

// call is one of a store's methods with its arguments.
type call struct {
	op string // as in the store's errors
	do func(ctx context.Context) error
}

// calls returns all calls that the store supports, except Close.
func (s store) calls(name, owner string) []call {
	req := s.f.request(name, owner, lease)
	all := stores.MultiRequest{Keys: []string{req.Key}, Owner: owner, TTL: lease}
	declaration := stores.Declaration{Group: req.Key, Key: req.Key, TTL: lease}
	deaf := func(stores.Event) error { return nil }
	calls := []call{
		{"try lock", func(ctx context.Context) error { return errorOf(s.TryLock(ctx, req)) }},
		{"unlock", func(ctx context.Context) error { return s.Unlock(ctx, req.Key, owner) }},
		{"renew", func(ctx context.Context) error { return errorOf(stores.Renew(ctx, s.Store, req)) }},
		{"lock", func(ctx context.Context) error { return errorOf(stores.Lock(ctx, s.Store, req)) }},
		{"lock all", func(ctx context.Context) error { return errorOf(stores.LockAll(ctx, s.Store, all)) }},
		{"revoke", func(ctx context.Context) error { return stores.Revoke(ctx, s.Store, req.Key, owner) }},
		{"watch", func(ctx context.Context) error { return stores.Watch(ctx, s.Store, req.Key, deaf) }},
		{"list", func(ctx context.Context) error { return errorOf(stores.List(ctx, s.Store, req.Key)) }},
		{"declare", func(ctx context.Context) error { return stores.Declare(ctx, s.Store, declaration) }},
		{"withdraw", func(ctx context.Context) error { return stores.Withdraw(ctx, s.Store, req.Key, req.Key) }},
		{"group", func(ctx context.Context) error { return errorOf(stores.Group(ctx, s.Store, req.Key)) }},
		{"ping", func(ctx context.Context) error { return stores.Ping(ctx, s.Store) }},
	}
	ability := map[string]string{
		"renew": needRenew, "lock": needWait, "lock all": needMulti, "revoke": needRevoke, "watch": needWatch, "list": needList, "ping": needPing,
		"declare": needDeclare, "withdraw": needDeclare, "group": needDeclare,
	}
	return filter(calls, func(c call) bool { return ability[c.op] == "" || s.f.declares([]string{ability[c.op]}) })
}

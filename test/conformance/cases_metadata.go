package conformance

import (
	"slices"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// metadataRows test the metadata and the waiters in a list.
func metadataRows() []row {
	return slices.Concat(withNeeds(metadataListRows, needList), withNeeds(waiterCountRows, needList, needWait))
}

const metadataRule = "Metadata is information for people in a list: it is returned unchanged for as long as the lock is held."

var metadataListRows = []row{{
	name: "a list returns metadata unchanged",
	rule: metadataRule,
	check: func(f *fixture) {
		for i, md := range []map[string]string{
			{"host": "a"},
			{"host": "a", "Host": "b", "": "no key", "none": ""},
			{"鍵": "🔑", "a=b": "c\nd\x00", `"`: `{"a":[1]}`, "owner": "eve", "token": "7", "ttl": "0"},
			{"k": strings.Repeat("v", stores.MaxMetadata-1)},
		} {
			f.open().mustLockWithMetadata(nth("disk", i), md)
		}
	},
}, {
	name: "a lock without metadata is listed without",
	rule: metadataRule,
	check: func(f *fixture) {
		s := f.open()
		s.mustLockWithMetadata("disk", nil)
		s.mustLockWithMetadata("gate", map[string]string{})
	},
}, {
	name: "a grant has the metadata of its own request",
	rule: "A grant has the metadata of its own request, and not that of the previous holder.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockWithMetadata("disk", map[string]string{"host": "a", "why": "because"})
		s.mustUnlock("disk", "ann")
		s.mustLockWithMetadata("disk", map[string]string{"host": "b"})
		s.mustUnlock("disk", "ann")
		s.mustLockWithMetadata("disk", nil)
	},
}, {
	name: "a refused request leaves no metadata",
	rule: "A refused TryLock changes nothing.",
	check: func(f *fixture) {
		s := f.open()
		token := s.mustLock("disk", "ann").Token
		req := f.request("disk", "bob", lease)
		req.Metadata = map[string]string{"host": "b"}
		g, err := s.tryLockRequest(req)
		f.want(err == nil && !g.Acquired, "TryLock returned %+v and %v", g, err)
		f.wantLocks(s.list("disk"), []stores.LockInfo{{Key: "disk", Owner: "ann", TTL: lease, Token: token}})
	},
}, {
	name:  "a renewal keeps the metadata",
	rule:  "A renewal keeps the metadata of the grant, whatever its own request has.",
	needs: []string{needRenew},
	check: func(f *fixture) {
		s := f.open()
		md := map[string]string{"host": "a"}
		token := s.mustLockWithMetadata("disk", md)
		s.mustRenew("disk", "ann", lease)
		f.wantLocks(s.list("disk"), []stores.LockInfo{{Key: "disk", Owner: "ann", TTL: lease, Token: token, Metadata: md}})
		req := f.request("disk", "ann", lease)
		req.Metadata = map[string]string{"host": "b"}
		_, err := stores.Renew(f.ctx, s.Store, req)
		f.want(err == nil, "Renew failed: %v", err)
		f.wantLocks(s.list("disk"), []stores.LockInfo{{Key: "disk", Owner: "ann", TTL: lease, Token: token, Metadata: md}})
	},
}, {
	name:  "a waiter's grant has the metadata of its request",
	rule:  metadataRule,
	needs: []string{needWait},
	check: func(f *fixture) {
		s := f.open()
		s.mustLockWithMetadata("disk", map[string]string{"host": "a"})
		req := f.request("disk", "bob", lease)
		req.Metadata = map[string]string{"host": "b"}
		bob := s.startWaitRequest(req)
		s.mustUnlock("disk", "ann")
		token := bob.mustGet().Token
		f.wantLocks(s.list("disk"), []stores.LockInfo{{Key: "disk", Owner: "bob", TTL: lease, Token: token, Metadata: req.Metadata}})
	},
}, {
	name:  "locks acquired together have the same metadata",
	rule:  metadataRule,
	needs: []string{needMulti},
	check: func(f *fixture) {
		s := f.open()
		md := map[string]string{"host": "a"}
		req := stores.MultiRequest{Keys: f.keys([]string{"disk", "gate"}), Owner: "ann", TTL: lease, Metadata: md}
		g, err := stores.LockAll(f.ctx, s.Store, req)
		f.want(err == nil && g.Acquired, "LockAll returned %+v and %v", g, err)
		f.wantLocks(s.list(""), []stores.LockInfo{
			{Key: "disk", Owner: "ann", TTL: lease, Token: g.Token, Metadata: md},
			{Key: "gate", Owner: "ann", TTL: lease, Token: g.Token, Metadata: md},
		})
	},
}}

// waiterCountRows test the number of waiters.
var waiterCountRows = []row{{
	name: "a list has the number of waiters",
	rule: "Waiters is the number of requests that wait for the lock, from joining the queue to the grant or the end of the wait.",
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		s.mustLock("gate", "ann")
		f.wantWaiters(s, "disk", 0)
		bob, carl, dora := other.startWait("disk", "bob"), s.startWait("disk", "carl"), other.startWait("disk", "dora")
		f.wantWaiters(s, "disk", 3)
		f.wantWaiters(other, "gate", 0)
		carl.mustCancel()
		f.wantWaiters(s, "disk", 2)
		s.mustUnlock("disk", "ann")
		bob.mustGet()
		f.wantWaiters(s, "disk", 1)
		s.mustUnlock("disk", "bob")
		dora.mustGet()
		f.wantWaiters(s, "disk", 0)
	},
}, {
	name:  "a waiter for several locks counts for each",
	rule:  "LockAll waits in the queue of every key.",
	needs: []string{needMulti},
	check: func(f *fixture) {
		s, other := f.open(), f.open()
		s.mustLock("disk", "ann")
		s.mustLock("gate", "ann")
		bob := other.startWaitAll("bob", "disk", "gate", "hatch")
		f.wantWaiters(s, "disk", 1)
		f.wantWaiters(s, "gate", 1)
		s.mustUnlock("gate", "ann")
		f.wantWaiters(s, "disk", 1)
		s.mustUnlock("disk", "ann")
		bob.mustGet()
		f.wantWaiters(s, "disk", 0)
		f.wantWaiters(s, "hatch", 0)
	},
}}

// mustLockWithMetadata acquires the lock for ann with the metadata, expects List to
// return it, and returns the token.
func (s store) mustLockWithMetadata(name string, metadata map[string]string) uint64 {
	req := s.f.request(name, "ann", lease)
	req.Metadata = metadata
	token := s.mustLockRequest(req).Token
	if len(metadata) == 0 {
		metadata = nil
	}
	s.f.wantLocks(s.list(name), []stores.LockInfo{{Key: name, Owner: "ann", TTL: lease, Token: token, Metadata: metadata}})
	return token
}

// wantWaiters expects want waiters for a held lock.
func (f *fixture) wantWaiters(s store, name string, want int) {
	s.mustList(name, name)
	got := s.waiterCount(name)
	f.want(got == want, "%d waiters for %q, want %d", got, name, want)
}

package conformance

import (
	"slices"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// metadataRows are about what a list tells beside the lock: metadata, and how many wait.
func metadataRows() []row {
	return slices.Concat(withNeeds(metadataListRows, needList), withNeeds(waiterCountRows, needList, needWait))
}

const metadataRule = "Metadata is what people shall see beside the lock in a list: as it was given, for as long as the lock is held."

var metadataListRows = []row{{
	name: "a list tells metadata as it was given",
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
	name: "a lock without metadata is told without",
	rule: metadataRule,
	check: func(f *fixture) {
		s := f.open()
		s.mustLockWithMetadata("disk", nil)
		s.mustLockWithMetadata("gate", map[string]string{})
	},
}, {
	name: "metadata goes with the lock it was given for",
	rule: "A grant has the metadata of its own request, and not that of who held the lock before.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLockWithMetadata("disk", map[string]string{"host": "a", "why": "because"})
		s.mustUnlock("disk", "ann")
		s.mustLockWithMetadata("disk", map[string]string{"host": "b"})
		s.mustUnlock("disk", "ann")
		s.mustLockWithMetadata("disk", nil)
	},
}, {
	name: "who is refused leaves no metadata",
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
	rule:  "Metadata is that of the grant: a renewal keeps it, whatever its own request says.",
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
	name:  "who has waited has the metadata of its request",
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
	name:  "several locks taken at once have the same metadata",
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

// countedRows are about how many wait.
var waiterCountRows = []row{{
	name: "a list tells how many wait",
	rule: "Waiters is how many wait for the lock: each from when it is queued until it is served or has left.",
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
	name:  "who waits for several locks is counted for each",
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

// described takes the lock for ann with the metadata, expects it to be told so, and
// returns the token.
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

// counts expects so many to wait for the lock, which is held.
func (f *fixture) wantWaiters(s store, name string, want int) {
	s.mustList(name, name)
	got := s.waiterCount(name)
	f.want(got == want, "%d are told to wait for %q, want %d", got, name, want)
}

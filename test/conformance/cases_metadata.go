package conformance

import (
	"slices"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// metadataRows are about what a list tells beside the lock: metadata, and how many wait.
func metadataRows() []row {
	return slices.Concat(needing(describedRows, listing), needing(countedRows, listing, waiting))
}

const metadataRule = "Metadata is what people shall see beside the lock in a list: as it was given, for as long as the lock is held."

var describedRows = []row{{
	name: "a list tells metadata as it was given",
	rule: metadataRule,
	check: func(b *bench) {
		for i, md := range []map[string]string{
			{"host": "a"},
			{"host": "a", "Host": "b", "": "no key", "none": ""},
			{"鍵": "🔑", "a=b": "c\nd\x00", `"`: `{"a":[1]}`, "owner": "eve", "token": "7", "ttl": "0"},
			{"k": strings.Repeat("v", stores.MaxMetadata-1)},
		} {
			b.open().described(nth("disk", i), md)
		}
	},
}, {
	name: "a lock without metadata is told without",
	rule: metadataRule,
	check: func(b *bench) {
		s := b.open()
		s.described("disk", nil)
		s.described("gate", map[string]string{})
	},
}, {
	name: "metadata goes with the lock it was given for",
	rule: "A grant has the metadata of its own request, and not that of who held the lock before.",
	check: func(b *bench) {
		s := b.open()
		s.described("disk", map[string]string{"host": "a", "why": "because"})
		s.frees("disk", "ann")
		s.described("disk", map[string]string{"host": "b"})
		s.frees("disk", "ann")
		s.described("disk", nil)
	},
}, {
	name: "who is refused leaves no metadata",
	rule: "A refused TryLock changes nothing.",
	check: func(b *bench) {
		s := b.open()
		token := s.grants("disk", "ann").Token
		req := b.request("disk", "bob", lease)
		req.Metadata = map[string]string{"host": "b"}
		g, err := s.tryLockFor(req)
		b.want(err == nil && !g.Acquired, "TryLock returned %+v and %v", g, err)
		b.tells(s.list("disk"), []stores.LockInfo{{Key: "disk", Owner: "ann", TTL: lease, Token: token}})
	},
}, {
	name:  "a renewal keeps the metadata",
	rule:  "Metadata is that of the grant: a renewal keeps it, whatever its own request says.",
	needs: []string{renewing},
	check: func(b *bench) {
		s := b.open()
		md := map[string]string{"host": "a"}
		token := s.described("disk", md)
		s.renews("disk", "ann", lease)
		b.tells(s.list("disk"), []stores.LockInfo{{Key: "disk", Owner: "ann", TTL: lease, Token: token, Metadata: md}})
		req := b.request("disk", "ann", lease)
		req.Metadata = map[string]string{"host": "b"}
		_, err := stores.Renew(b.ctx, s.Store, req)
		b.want(err == nil, "Renew failed: %v", err)
		b.tells(s.list("disk"), []stores.LockInfo{{Key: "disk", Owner: "ann", TTL: lease, Token: token, Metadata: md}})
	},
}, {
	name:  "who has waited has the metadata of its request",
	rule:  metadataRule,
	needs: []string{waiting},
	check: func(b *bench) {
		s := b.open()
		s.described("disk", map[string]string{"host": "a"})
		req := b.request("disk", "bob", lease)
		req.Metadata = map[string]string{"host": "b"}
		bob := s.waitsFor(req)
		s.frees("disk", "ann")
		token := bob.gets().Token
		b.tells(s.list("disk"), []stores.LockInfo{{Key: "disk", Owner: "bob", TTL: lease, Token: token, Metadata: req.Metadata}})
	},
}, {
	name:  "several locks taken at once have the same metadata",
	rule:  metadataRule,
	needs: []string{multi},
	check: func(b *bench) {
		s := b.open()
		md := map[string]string{"host": "a"}
		req := stores.MultiRequest{Keys: b.keys([]string{"disk", "gate"}), Owner: "ann", TTL: lease, Metadata: md}
		g, err := stores.LockAll(b.ctx, s.Store, req)
		b.want(err == nil && g.Acquired, "LockAll returned %+v and %v", g, err)
		b.tells(s.list(""), []stores.LockInfo{
			{Key: "disk", Owner: "ann", TTL: lease, Token: g.Token, Metadata: md},
			{Key: "gate", Owner: "ann", TTL: lease, Token: g.Token, Metadata: md},
		})
	},
}}

// countedRows are about how many wait.
var countedRows = []row{{
	name: "a list tells how many wait",
	rule: "Waiters is how many wait for the lock: each from when it is queued until it is served or has left.",
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		s.grants("gate", "ann")
		b.counts(s, "disk", 0)
		bob, carl, dora := other.waits("disk", "bob"), s.waits("disk", "carl"), other.waits("disk", "dora")
		b.counts(s, "disk", 3)
		b.counts(other, "gate", 0)
		carl.leaves()
		b.counts(s, "disk", 2)
		s.frees("disk", "ann")
		bob.gets()
		b.counts(s, "disk", 1)
		s.frees("disk", "bob")
		dora.gets()
		b.counts(s, "disk", 0)
	},
}, {
	name:  "who waits for several locks is counted for each",
	rule:  "LockAll waits in the queue of every key.",
	needs: []string{multi},
	check: func(b *bench) {
		s, other := b.open(), b.open()
		s.grants("disk", "ann")
		s.grants("gate", "ann")
		bob := other.waitsAll("bob", "disk", "gate", "hatch")
		b.counts(s, "disk", 1)
		b.counts(s, "gate", 1)
		s.frees("gate", "ann")
		b.counts(s, "disk", 1)
		s.frees("disk", "ann")
		bob.gets()
		b.counts(s, "disk", 0)
		b.counts(s, "hatch", 0)
	},
}}

// described takes the lock for ann with the metadata, expects it to be told so, and
// returns the token.
func (s store) described(name string, metadata map[string]string) uint64 {
	req := s.b.request(name, "ann", lease)
	req.Metadata = metadata
	token := s.grantsAs(req).Token
	if len(metadata) == 0 {
		metadata = nil
	}
	s.b.tells(s.list(name), []stores.LockInfo{{Key: name, Owner: "ann", TTL: lease, Token: token, Metadata: metadata}})
	return token
}

// counts expects so many to wait for the lock, which is held.
func (b *bench) counts(s store, name string, want int) {
	s.lists(name, name)
	got := s.queue(name)
	b.want(got == want, "%d are told to wait for %q, want %d", got, name, want)
}

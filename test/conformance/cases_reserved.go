package conformance

import (
	"context"
	"errors"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// reservedRows are about what begins with ReservedPrefix, which is no lock.
var reservedRows = []row{{
	name:  "a key of the store's own is refused",
	rule:  "Every call for a lock whose key begins with ReservedPrefix fails with a FieldError.",
	needs: []string{checks},
	check: func(b *bench) {
		b.prefix = stores.ReservedPrefix + b.prefix
		for _, c := range b.open().calls("disk", "ann") {
			if slices.Contains([]string{"try lock", "unlock", "renew", "lock", "lock all", "revoke", "declare"}, c.op) {
				b.refusedByField(c)
			}
		}
	},
}, {
	name:  "several keys with one of the store's own are refused",
	rule:  "A LockAll with a key that begins with ReservedPrefix fails with a FieldError and takes nothing.",
	needs: []string{checks, multi},
	check: func(b *bench) {
		s := b.open()
		keys := []string{b.key("disk"), stores.ReservedPrefix + b.key("gate")}
		req := stores.MultiRequest{Keys: keys, Owner: "ann", TTL: lease}
		b.refusedByField(call{"lock all", func(ctx context.Context) error { return errorOf(stores.LockAll(ctx, s.Store, req)) }})
		s.grants("disk", "bob")
	},
}, {
	name:  "a list has nothing of the store's own",
	rule:  "A prefix may begin with ReservedPrefix, and no lock is below it.",
	needs: []string{listing},
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		b.prefix = stores.ReservedPrefix
		s.lists("")
	},
}, {
	name:  "a snapshot has nothing of the store's own",
	rule:  "A prefix may begin with ReservedPrefix, and no lock is below it.",
	needs: []string{watching},
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		b.prefix = stores.ReservedPrefix
		s.watches("")
	},
}}

// refusedByField expects a call to fail because of its arguments.
func (b *bench) refusedByField(c call) {
	ctx, cancel := b.limited()
	defer cancel()
	err := c.do(ctx)
	_, bad := errors.AsType[*stores.FieldError](err)
	b.want(bad, "%s of a key that begins with %q returned %v", c.op, stores.ReservedPrefix, err)
}

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
	needs: []string{needChecks},
	check: func(f *fixture) {
		f.prefix = stores.ReservedPrefix + f.prefix
		for _, c := range f.open().calls("disk", "ann") {
			if slices.Contains([]string{"try lock", "unlock", "renew", "lock", "lock all", "revoke", "declare"}, c.op) {
				f.wantFieldError(c)
			}
		}
	},
}, {
	name:  "several keys with one of the store's own are refused",
	rule:  "A LockAll with a key that begins with ReservedPrefix fails with a FieldError and takes nothing.",
	needs: []string{needChecks, needMulti},
	check: func(f *fixture) {
		s := f.open()
		keys := []string{f.key("disk"), stores.ReservedPrefix + f.key("gate")}
		req := stores.MultiRequest{Keys: keys, Owner: "ann", TTL: lease}
		f.wantFieldError(call{"lock all", func(ctx context.Context) error { return errorOf(stores.LockAll(ctx, s.Store, req)) }})
		s.mustLock("disk", "bob")
	},
}, {
	name:  "a list has nothing of the store's own",
	rule:  "A prefix may begin with ReservedPrefix, and no lock is below it.",
	needs: []string{needList},
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		f.prefix = stores.ReservedPrefix
		s.mustList("")
	},
}, {
	name:  "a snapshot has nothing of the store's own",
	rule:  "A prefix may begin with ReservedPrefix, and no lock is below it.",
	needs: []string{needWatch},
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		f.prefix = stores.ReservedPrefix
		s.mustWatch("")
	},
}}

// refusedByField expects a call to fail because of its arguments.
func (f *fixture) wantFieldError(c call) {
	ctx, cancel := f.callContext()
	defer cancel()
	err := c.do(ctx)
	_, bad := errors.AsType[*stores.FieldError](err)
	f.want(bad, "%s of a key that begins with %q returned %v", c.op, stores.ReservedPrefix, err)
}

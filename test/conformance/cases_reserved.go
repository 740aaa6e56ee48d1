package conformance

import (
	"context"
	"errors"
	"slices"

	"github.com/mortise-lock/mortise/stores"
)

// reservedRows test keys that begin with ReservedPrefix, which belong to the store.
var reservedRows = []row{{
	name:  "a reserved key is rejected",
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
	name:  "several keys with a reserved one are rejected",
	rule:  "LockAll with a key that begins with ReservedPrefix fails with a FieldError and acquires nothing.",
	needs: []string{needChecks, needMulti},
	check: func(f *fixture) {
		s := f.open()
		keys := []string{f.key("disk"), stores.ReservedPrefix + f.key("gate")}
		req := stores.MultiRequest{Keys: keys, Owner: "ann", TTL: lease}
		f.wantFieldError(call{"lock all", func(ctx context.Context) error { return errorOf(stores.LockAll(ctx, s.Store, req)) }})
		s.mustLock("disk", "bob")
	},
}, {
	name:  "a list has no reserved keys",
	rule:  "A prefix may begin with ReservedPrefix, and has no locks.",
	needs: []string{needList},
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		f.prefix = stores.ReservedPrefix
		s.mustList("")
	},
}, {
	name:  "a snapshot has no reserved keys",
	rule:  "A prefix may begin with ReservedPrefix, and has no locks.",
	needs: []string{needWatch},
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		f.prefix = stores.ReservedPrefix
		s.mustWatch("")
	},
}}

// wantFieldError expects the call to fail with a FieldError.
func (f *fixture) wantFieldError(c call) {
	ctx, cancel := f.callContext()
	defer cancel()
	err := c.do(ctx)
	_, bad := errors.AsType[*stores.FieldError](err)
	f.want(bad, "%s of a key that begins with %q returned %v", c.op, stores.ReservedPrefix, err)
}

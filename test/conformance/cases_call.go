package conformance

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// callRows test what all calls have in common: their errors, and whether the store
// supports them.
var callRows = []row{{
	name: "errors name the store, the call and the key",
	rule: `An error reads "store: operation "key": cause", with the key quoted, and wraps its cause once.`,
	check: func(f *fixture) {
		const name = `the "disk" `
		s := f.open()
		f.wantErrorText(s.unlock(name, "ann"), "unlock", name)
		s.mustLock(name, "ann")
		f.wantErrorText(s.unlock(name, "bob"), "unlock", name)
		for _, c := range s.calls(name, "ann") {
			if c.op != "ping" {
				f.wantErrorText(c.do(canceledContext()), c.op, name)
			}
		}
	},
}, {
	name: "a store supports exactly what it declares",
	rule: "Features returns exactly the abilities that the store's documentation and its harness declare.",
	check: func(f *fixture) {
		got := stores.Features(f.open().Store)
		f.want(slices.Equal(got, f.Features), "Features are %q, the harness declares %q", got, f.Features)
	},
}, {
	name:  "a reachable storage answers a ping",
	rule:  "Ping returns nil if the storage responds and would serve a TryLock.",
	needs: []string{needPing},
	check: func(f *fixture) {
		err := stores.Ping(f.ctx, f.open().Store)
		f.want(err == nil, "Ping returned %v", err)
	},
}}

// canceledRows test calls whose ctx has ended.
var canceledRows = []row{{
	name: "a call whose ctx has ended fails with the ctx's error",
	rule: "All methods honour ctx: they return soon after it ends, with an error that wraps ctx.Err.",
	check: func(f *fixture) {
		s := f.open()
		late, cancel := context.WithDeadline(f.ctx, time.Now().Add(-time.Second))
		defer cancel()
		for _, ctx := range []context.Context{canceledContext(), late} {
			for _, c := range s.calls("disk", "ann") {
				err := c.do(ctx)
				f.want(errors.Is(err, ctx.Err()), "%s returned %v, want %v", c.op, err, ctx.Err())
			}
		}
	},
}, {
	name: "a TryLock whose ctx has ended acquires nothing",
	rule: "A request whose ctx has ended before the call has no effect.",
	check: func(f *fixture) {
		s := f.open()
		_, _ = s.TryLock(canceledContext(), stores.Request{Key: f.key("disk"), Owner: "ann", TTL: lease})
		s.mustLock("disk", "bob")
	},
}, {
	name: "an Unlock whose ctx has ended releases nothing",
	rule: "A request whose ctx has ended before the call has no effect.",
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		_ = s.Unlock(canceledContext(), f.key("disk"), "ann")
		s.mustRefuse("disk", "bob")
	},
}}

// canceledContext returns a ctx that has been canceled, of a caller that is present, so
// that no helper undoes a grant.
func canceledContext() context.Context {
	ctx, cancel := context.WithCancel(stores.WithCaller(context.Background()))
	cancel()
	return ctx
}

// wantErrorText expects an error with the operation and the key, once.
func (f *fixture) wantErrorText(err error, op, name string) {
	key := strconv.Quote(f.key(name))
	shape := regexp.MustCompile(fmt.Sprintf(`^\w+: %s %s: .`, op, regexp.QuoteMeta(key)))
	text := fmt.Sprint(err)
	f.want(shape.MatchString(text) && strings.Count(text, key) == 1, "the error of %s reads %s", op, text)
}

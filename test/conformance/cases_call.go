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

// callRows are about what every call has in common: its errors, and whether the store has
// it at all.
var callRows = []row{{
	name: "errors name the store, the call and the key",
	rule: `An error reads "store: operation "key": cause", with the key quoted, and wraps its cause once.`,
	check: func(b *bench) {
		const name = `the "disk" `
		s := b.open()
		b.reads(s.unlock(name, "ann"), "unlock", name)
		s.grants(name, "ann")
		b.reads(s.unlock(name, "bob"), "unlock", name)
		for _, c := range s.calls(name, "ann") {
			if c.op != "ping" {
				b.reads(c.do(ended()), c.op, name)
			}
		}
	},
}, {
	name: "a store can do what it declares",
	rule: "Features tells exactly the abilities that the store's documentation and harness promise.",
	check: func(b *bench) {
		got := stores.Features(b.open().Store)
		b.want(slices.Equal(got, b.Features), "Features are %q, the harness declares %q", got, b.Features)
	},
}, {
	name:  "a storage that works answers a ping",
	rule:  "Ping returns nil if the storage answers and would serve a TryLock.",
	needs: []string{pinging},
	check: func(b *bench) {
		err := stores.Ping(b.ctx, b.open().Store)
		b.want(err == nil, "Ping returned %v", err)
	},
}}

// endedRows are about calls whose ctx has ended.
var endedRows = []row{{
	name: "a call whose ctx has ended fails with the ctx's error",
	rule: "All methods honour ctx: they return soon after it ends, with an error that wraps ctx.Err.",
	check: func(b *bench) {
		s := b.open()
		late, cancel := context.WithDeadline(b.ctx, time.Now().Add(-time.Second))
		defer cancel()
		for _, ctx := range []context.Context{ended(), late} {
			for _, c := range s.calls("disk", "ann") {
				err := c.do(ctx)
				b.want(errors.Is(err, ctx.Err()), "%s returned %v, want %v", c.op, err, ctx.Err())
			}
		}
	},
}, {
	name: "a TryLock whose ctx has ended takes nothing",
	rule: "A request that was given up before it was made has no effect.",
	check: func(b *bench) {
		s := b.open()
		_, _ = s.TryLock(ended(), stores.Request{Key: b.key("disk"), Owner: "ann", TTL: lease})
		s.grants("disk", "bob")
	},
}, {
	name: "an Unlock whose ctx has ended frees nothing",
	rule: "A request that was given up before it was made has no effect.",
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		_ = s.Unlock(ended(), b.key("disk"), "ann")
		s.refuses("disk", "bob")
	},
}}

// ended returns a ctx that was cancelled.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// reads expects an error that tells the operation and the key, once.
func (b *bench) reads(err error, op, name string) {
	key := strconv.Quote(b.key(name))
	shape := regexp.MustCompile(fmt.Sprintf(`^\w+: %s %s: .`, op, regexp.QuoteMeta(key)))
	text := fmt.Sprint(err)
	b.want(shape.MatchString(text) && strings.Count(text, key) == 1, "the error of %s reads %s", op, text)
}

package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// ctxRow is the row that catches most of what can be done wrong with a ctx.
const ctxRow = "a call whose ctx has ended fails with the ctx's error"

var brokenCalls = []broken{{
	what:   "does not look at ctx",
	caught: []string{ctxRow, "a TryLock whose ctx has ended acquires nothing"},
	with: func(f *faulty) {
		f.tryLock = func(_ context.Context, req stores.Request) (stores.Grant, error) {
			return f.Store.TryLock(context.Background(), req)
		}
	},
}, {
	what:   "unlocks whether or not ctx has ended",
	caught: []string{ctxRow, "an Unlock whose ctx has ended releases nothing"},
	with: func(f *faulty) {
		f.unlock = func(_ context.Context, key, owner string) error {
			return f.Store.Unlock(context.Background(), key, owner)
		}
	},
}, {
	what:   "tells of an ended ctx in its own words",
	caught: []string{ctxRow},
	with: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			if ctx.Err() != nil {
				return nil, errors.New("list was aborted")
			}
			return f.Store.List(ctx, prefix)
		}
	},
}, {
	what:   "returns bare errors",
	caught: []string{"errors name the store, the call and the key"},
	with: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if err := f.Store.Unlock(ctx, key, owner); err != nil {
				return errors.Unwrap(err)
			}
			return nil
		}
	},
}, {
	what:   "wraps errors twice",
	caught: []string{"errors name the store, the call and the key"},
	with: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Renew(ctx, req)
			if err != nil {
				err = fmt.Errorf("memory: renew %q: %w", req.Key, err)
			}
			return g, err
		}
	},
}, {
	what:     "cannot do all that its harness declares",
	caught:   []string{"a store supports exactly what it declares"},
	declares: append(allFeatures(), "YIELD"),
}, {
	what:     "can do more than its harness declares",
	caught:   []string{"a store supports exactly what it declares"},
	declares: []string{"FENCING", "LIST"},
}, {
	what:   "does not answer a ping",
	caught: []string{"a reachable storage answers a ping"},
	with:   func(f *faulty) { f.ping = func(context.Context) error { return errors.New("no pong") } },
}}

func brokenNames() []broken {
	rows := []broken{}
	for _, n := range []struct {
		what, says string
		wire       func(name string) string // what is left of a name on its way
	}{
		{"folds case", "keeps its case", strings.ToLower},
		{"trims names", "keeps its white space", strings.TrimSpace},
		{"joins words", "keeps its white space", func(name string) string { return strings.Join(strings.Fields(name), " ") }},
		{"reads names up to a slash", "may be a prefix of another", upTo("/1")},
		{"drops backslashes", "may have glob characters", dropping(`\`)},
		{"drops the separator", "may have separators", dropping("||")},
		{"cleans paths", "may have separators", dropping("./")},
		{"reads names as formats", "may have syntax", func(name string) string { return strings.ReplaceAll(name, "%00", "%s") }},
		{"hashes what is in braces", "may have syntax", braced},
		{"reads names up to a NUL", "may have control characters", upTo("\x00")},
		{"composes characters", "may be in any script", strings.NewReplacer("e\u0301", "\u00e9").Replace},
		{"folds letters", "may be in any script", func(name string) string { return strings.ToLower(strings.ToUpper(name)) }},
		{"reads the first 255 bytes", "may be 1024 bytes long", func(name string) string { return name[:min(len(name), 255)] }},
		{"reads all but the last byte", "may be 1024 bytes long", func(name string) string { return name[:min(len(name), 1023)] }},
		{"replaces what is not in UTF-8", "may have any bytes", func(name string) string { return strings.ToValidUTF8(name, "\ufffd") }},
	} {
		rows = append(rows,
			broken{what: n.what + " in keys", caught: []string{"a key " + n.says}, with: renames(n.wire)},
			broken{what: n.what + " in owners", caught: []string{"an owner " + n.says}, with: readdresses(n.wire)})
	}
	return rows
}

func upTo(end string) func(string) string {
	return func(name string) string {
		name, _, _ = strings.Cut(name, end)
		return name
	}
}

func dropping(part string) func(string) string {
	return func(name string) string { return strings.ReplaceAll(name, part, "") }
}

// braced returns the part of a name in braces, or else the name: what Redis Cluster finds
// a key's node by.
func braced(name string) string {
	_, rest, open := strings.Cut(name, "{")
	tag, _, closed := strings.Cut(rest, "}")
	if open && closed {
		return tag
	}
	return name
}

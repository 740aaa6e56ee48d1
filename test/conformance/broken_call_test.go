package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// canceledCallRow is the row that most stores with a wrong treatment of ctx fail.
const canceledCallRow = "a call whose ctx has ended fails with the ctx's error"

var brokenCalls = []broken{{
	name: "ignores ctx in TryLock",
	rows: []string{canceledCallRow, "a TryLock whose ctx has ended acquires nothing"},
	inject: func(f *faulty) {
		f.tryLock = func(_ context.Context, req stores.Request) (stores.Grant, error) {
			return f.Store.TryLock(context.Background(), req)
		}
	},
}, {
	name: "unlocks after ctx has ended",
	rows: []string{canceledCallRow, "an Unlock whose ctx has ended releases nothing"},
	inject: func(f *faulty) {
		f.unlock = func(_ context.Context, key, owner string) error {
			return f.Store.Unlock(context.Background(), key, owner)
		}
	},
}, {
	name: "does not wrap the error of ctx",
	rows: []string{canceledCallRow},
	inject: func(f *faulty) {
		f.list = func(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
			if ctx.Err() != nil {
				return nil, errors.New("list was aborted")
			}
			return f.Store.List(ctx, prefix)
		}
	},
}, {
	name: "returns errors without operation and key",
	rows: []string{"errors name the store, the call and the key"},
	inject: func(f *faulty) {
		f.unlock = func(ctx context.Context, key, owner string) error {
			if err := f.Store.Unlock(ctx, key, owner); err != nil {
				return errors.Unwrap(err)
			}
			return nil
		}
	},
}, {
	name: "adds operation and key twice",
	rows: []string{"errors name the store, the call and the key"},
	inject: func(f *faulty) {
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			g, err := f.Store.Renew(ctx, req)
			if err != nil {
				err = fmt.Errorf("memory: renew %q: %w", req.Key, err)
			}
			return g, err
		}
	},
}, {
	name:     "lacks an ability that its harness declares",
	rows:     []string{"a store supports exactly what it declares"},
	features: append(allFeatures(), "YIELD"),
}, {
	name:     "has abilities that its harness does not declare",
	rows:     []string{"a store supports exactly what it declares"},
	features: []string{"FENCING", "LIST"},
}, {
	name:   "fails a ping",
	rows:   []string{"a reachable storage answers a ping"},
	inject: func(f *faulty) { f.ping = func(context.Context) error { return errors.New("ping failed") } },
}}

func brokenNames() []broken {
	rows := []broken{}
	for _, n := range []struct {
		name, property string
		keep           func(name string) string // what the store keeps of a name
	}{
		{"folds case", "keeps its case", strings.ToLower},
		{"trims white space", "keeps its white space", strings.TrimSpace},
		{"collapses white space", "keeps its white space", func(name string) string { return strings.Join(strings.Fields(name), " ") }},
		{"cuts names at a slash", "may be a prefix of another", truncateAt("/1")},
		{"removes backslashes", "may have glob characters", removing(`\`)},
		{"removes the separator", "may have separators", removing("||")},
		{"cleans paths", "may have separators", removing("./")},
		{"expands formats", "may have syntax", func(name string) string { return strings.ReplaceAll(name, "%00", "%s") }},
		{"hashes only what is in braces", "may have syntax", hashTag},
		{"cuts names at a NUL", "may have control characters", truncateAt("\x00")},
		{"composes characters", "may be in any script", strings.NewReplacer("e\u0301", "\u00e9").Replace},
		{"folds letters", "may be in any script", func(name string) string { return strings.ToLower(strings.ToUpper(name)) }},
		{"keeps 255 bytes", "may be 1024 bytes long", func(name string) string { return name[:min(len(name), 255)] }},
		{"keeps 1023 bytes", "may be 1024 bytes long", func(name string) string { return name[:min(len(name), 1023)] }},
		{"replaces invalid UTF-8", "may have any bytes", func(name string) string { return strings.ToValidUTF8(name, "\ufffd") }},
	} {
		rows = append(rows,
			broken{name: n.name + " in keys", rows: []string{"a key " + n.property}, inject: changeKeys(n.keep)},
			broken{name: n.name + " in owners", rows: []string{"an owner " + n.property}, inject: changeOwners(n.keep)})
	}
	return rows
}

func truncateAt(end string) func(string) string {
	return func(name string) string {
		name, _, _ = strings.Cut(name, end)
		return name
	}
}

func removing(part string) func(string) string {
	return func(name string) string { return strings.ReplaceAll(name, part, "") }
}

// hashTag returns the part of a name in braces, or the whole name without braces, as
// Redis Cluster does to find a key's node.
func hashTag(name string) string {
	_, rest, open := strings.Cut(name, "{")
	tag, _, closed := strings.Cut(rest, "}")
	if open && closed {
		return tag
	}
	return name
}

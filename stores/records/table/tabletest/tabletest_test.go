package tabletest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores/records/table"
	"github.com/mortise-lock/mortise/stores/records/table/memtable"
)

// brokenTables has for each row at least one table that it must catch.
var brokenTables = []struct {
	row    string
	breaks string
	with   func() broken
}{
	{"an absent record", "returns the records in the order of their keys", func() broken {
		return broken{get: func(ctx context.Context, t *memtable.Table, keys []string) (table.Reply, error) {
			return t.Get(ctx, slices.Sorted(slices.Values(keys)))
		}}
	}},
	{"create", "creates a record that exists", func() broken {
		return broken{commit: func(ctx context.Context, t *memtable.Table, changes []table.Change) (table.Reply, error) {
			if changes[0].If == "" {
				return overwrite(ctx, t, changes)
			}
			return t.Commit(ctx, changes)
		}}
	}},
	{"swap", "ignores the version of a replacement", func() broken { return broken{commit: overwrite} }},
	{"delete", "ignores the version of a deletion", func() broken {
		return broken{commit: func(ctx context.Context, t *memtable.Table, changes []table.Change) (table.Reply, error) {
			if changes[0].Value == nil {
				return overwrite(ctx, t, changes)
			}
			return t.Commit(ctx, changes)
		}}
	}},
	{"a version does not recur", "has versions that depend on the value only", func() broken {
		return broken{commit: withValueVersions, get: func(ctx context.Context, t *memtable.Table, keys []string) (table.Reply, error) {
			reply, err := t.Get(ctx, keys)
			for i, e := range reply.Entries {
				reply.Entries[i] = valueVersions(e)
			}
			return reply, err
		}}
	}},
	{"new versions", "returns the earlier versions", func() broken {
		return broken{commit: func(ctx context.Context, t *memtable.Table, changes []table.Change) (table.Reply, error) {
			reply, err := t.Commit(ctx, changes)
			for i, c := range changes {
				if err == nil {
					reply.Entries[i].Version = c.If
				}
			}
			return reply, err
		}}
	}},
	{"any bytes", "keeps an empty value as none", func() broken {
		return broken{get: func(ctx context.Context, t *memtable.Table, keys []string) (table.Reply, error) {
			reply, err := t.Get(ctx, keys)
			for i, e := range reply.Entries {
				if len(e.Value) == 0 {
					reply.Entries[i] = table.Entry{Key: e.Key}
				}
			}
			return reply, err
		}}
	}},
	{"any bytes", "keeps values as text", func() broken {
		return broken{commit: func(ctx context.Context, t *memtable.Table, changes []table.Change) (table.Reply, error) {
			changes = slices.Clone(changes)
			for i, c := range changes {
				changes[i].Value = bytes.ToValidUTF8(c.Value, []byte("?"))
			}
			return t.Commit(ctx, changes)
		}}
	}},
	{"too large", "cuts values that are too large", func() broken {
		return broken{commit: func(ctx context.Context, t *memtable.Table, changes []table.Change) (table.Reply, error) {
			changes = slices.Clone(changes)
			for i, c := range changes {
				changes[i].Value = c.Value[:min(len(c.Value), t.Traits().MaxValue)]
			}
			return t.Commit(ctx, changes)
		}}
	}},
	{"too large", "allows more keys than it says", func() broken {
		return broken{traits: func(t table.Traits) table.Traits { t.MaxKeys--; return t }}
	}},
	{"all or none", "applies the changes before the one that conflicts", func() broken { return broken{commit: onePart} }},
	{"never a part", "reads each record at a moment of its own", func() broken { return broken{get: getOneByOne} }},
	{"one creator", "compares before the commit, and not in it", func() broken { return broken{commit: getThenSet} }},
	{"one writer", "compares before the commit, and not in it", func() broken { return broken{commit: getThenSet} }},
	{"clock", "has a clock that stands", func() broken {
		return broken{get: func(ctx context.Context, t *memtable.Table, keys []string) (table.Reply, error) {
			reply, err := t.Get(ctx, keys)
			reply.Now = 1
			return reply, err
		}}
	}},
	{"clock", "has a clock that falls", func() broken {
		return broken{get: func(ctx context.Context, t *memtable.Table, keys []string) (table.Reply, error) {
			reply, err := t.Get(ctx, keys)
			reply.Now = -reply.Now
			return reply, err
		}}
	}},
	{"an ended context", "does not look at the context of a Get", func() broken {
		return broken{get: func(ctx context.Context, t *memtable.Table, keys []string) (table.Reply, error) {
			return t.Get(context.WithoutCancel(ctx), keys)
		}}
	}},
	{"an ended context", "commits although the context has ended", func() broken {
		return broken{commit: func(ctx context.Context, t *memtable.Table, changes []table.Change) (table.Reply, error) {
			reply, err := t.Commit(context.WithoutCancel(ctx), changes)
			return reply, errors.Join(err, ctx.Err())
		}}
	}},
	{"close", "answers after Close", func() broken {
		s := memtable.New()
		return broken{get: func(ctx context.Context, _ *memtable.Table, keys []string) (table.Reply, error) {
			return s.Open().Get(ctx, keys)
		}}
	}},
	{"scan", "matches whole segments only", func() broken {
		return broken{scan: func(ctx context.Context, t *memtable.Table, prefix string) (table.Reply, error) {
			return t.Scan(ctx, prefix+"/")
		}}
	}},
	{"a scan is of one moment", "reads each record at a moment of its own", func() broken {
		return broken{scan: func(ctx context.Context, t *memtable.Table, prefix string) (table.Reply, error) {
			reply, err := t.Scan(ctx, prefix)
			if err != nil {
				return reply, err
			}
			var keys []string
			for _, e := range reply.Entries {
				keys = append(keys, e.Key)
			}
			return getOneByOne(ctx, t, keys)
		}}
	}},
	{"mail", "delivers every record to every process", func() broken {
		return broken{commit: func(ctx context.Context, t *memtable.Table, changes []table.Change) (table.Reply, error) {
			changes = slices.Clone(changes)
			for i, c := range changes {
				changes[i].Wake = strings.Replace(c.Wake, "other", "me", 1)
			}
			return t.Commit(ctx, changes)
		}}
	}},
	{"mail", "is ready before it has subscribed", func() broken {
		return broken{mail: func(ctx context.Context, t *memtable.Table, process string, ready func(), deliver func(table.Entry)) error {
			ready()
			time.Sleep(100 * time.Millisecond) // in which the row commits
			return t.Mail(ctx, process, func() {}, deliver)
		}}
	}},
	{"feed", "leaves a change out", func() broken {
		return broken{feed: func(ctx context.Context, t *memtable.Table, prefix string, after uint64, deliver deliverFunc) error {
			n := 0
			return t.Feed(ctx, prefix, after, func(at uint64, e table.Entry) error {
				if n++; n == writers*writesPerEach-1 {
					return nil
				}
				return deliver(at, e)
			})
		}}
	}},
	{"feed", "begins with a change that the scan had", func() broken {
		return broken{feed: func(ctx context.Context, t *memtable.Table, prefix string, after uint64, deliver deliverFunc) error {
			return t.Feed(ctx, prefix, after-1, deliver)
		}}
	}},
	{"feed", "exchanges two changes", func() broken {
		return broken{feed: func(ctx context.Context, t *memtable.Table, prefix string, after uint64, deliver deliverFunc) error {
			var first *table.Entry
			var place uint64
			return t.Feed(ctx, prefix, after, func(at uint64, e table.Entry) error {
				if first == nil {
					first, place = &e, at
					return nil
				}
				err := deliver(at, e)
				if place > 0 {
					err, place = errors.Join(err, deliver(place, *first)), 0
				}
				return err
			})
		}}
	}},
	{"feed after a commit that changes nothing", "delivers commits that changed nothing", func() broken {
		return broken{commit: func(ctx context.Context, t *memtable.Table, changes []table.Change) (table.Reply, error) {
			if changes[0].Value == nil {
				changes = []table.Change{{Key: changes[0].Key, Value: []byte("nothing")}}
			}
			return t.Commit(ctx, changes)
		}}
	}},
	{"feed of a deletion", "delivers no deletions", func() broken {
		return broken{feed: func(ctx context.Context, t *memtable.Table, prefix string, after uint64, deliver deliverFunc) error {
			return t.Feed(ctx, prefix, after, func(at uint64, e table.Entry) error {
				if e.Version == "" {
					return errors.New("the storage has failed")
				}
				return deliver(at, e)
			})
		}}
	}},
	{"feed ends with deliver", "ends without deliver's error", func() broken {
		return broken{feed: func(ctx context.Context, t *memtable.Table, prefix string, after uint64, deliver deliverFunc) error {
			_ = t.Feed(ctx, prefix, after, deliver)
			return nil
		}}
	}},
	{"feed ends with its context", "ends without the context's error", func() broken {
		return broken{feed: func(ctx context.Context, t *memtable.Table, prefix string, after uint64, deliver deliverFunc) error {
			_ = t.Feed(ctx, prefix, after, deliver)
			return nil
		}}
	}},
}

func TestRows_CatchBrokenTables(t *testing.T) {
	caught := map[string]bool{}
	var mu sync.Mutex
	t.Run("tables", func(t *testing.T) {
		for _, b := range brokenTables {
			t.Run(b.row+": "+b.breaks, func(t *testing.T) {
				t.Parallel()
				if err := runBroken(t, b.row, b.with()); err == nil {
					t.Error("the row has not caught a table that", b.breaks)
				}
				mu.Lock()
				defer mu.Unlock()
				caught[b.row] = true
			})
		}
	})
	for _, r := range rows() {
		if !caught[r.name] {
			t.Errorf("no broken table for the row %q", r.name)
		}
	}
}

// runBroken runs one row with clients of a storage that are broken in the same way.
func runBroken(t *testing.T, name string, b broken) error {
	t.Helper()
	storage := memtable.New()
	open := func() table.Table {
		client := b
		client.Table = storage.Open()
		return &client
	}
	at := slices.IndexFunc(rows(), func(r row) bool { return r.name == name })
	if at < 0 {
		t.Fatalf("there is no row %q", name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if b.mail != nil || b.feed != nil { // the row waits for what never comes
		ctx, cancel = context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
	}
	return rows()[at].run(ctx, env{open(), open, "row/"})
}

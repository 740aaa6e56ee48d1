package tabletest

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores/records/table"
	"github.com/mortise-lock/mortise/stores/records/table/memtable"
)

// broken is a memtable that breaks a rule. A nil function is the memtable's own.
type broken struct {
	*memtable.Table
	get    func(ctx context.Context, t *memtable.Table, keys []string) (table.Reply, error)
	commit func(ctx context.Context, t *memtable.Table, changes []table.Change) (table.Reply, error)
	traits func(t table.Traits) table.Traits
	scan   func(ctx context.Context, t *memtable.Table, prefix string) (table.Reply, error)
	mail   func(ctx context.Context, t *memtable.Table, process string, ready func(), deliver func(table.Entry)) error
	feed   func(ctx context.Context, t *memtable.Table, prefix string, after uint64, deliver deliverFunc) error
}

type deliverFunc = func(uint64, table.Entry) error

func (b *broken) Get(ctx context.Context, keys []string) (table.Reply, error) {
	if b.get == nil {
		return b.Table.Get(ctx, keys)
	}
	return b.get(ctx, b.Table, keys)
}

func (b *broken) Commit(ctx context.Context, changes []table.Change) (table.Reply, error) {
	if b.commit == nil {
		return b.Table.Commit(ctx, changes)
	}
	return b.commit(ctx, b.Table, changes)
}

func (b *broken) Traits() table.Traits {
	if b.traits == nil {
		return b.Table.Traits()
	}
	return b.traits(b.Table.Traits())
}

func (b *broken) Scan(ctx context.Context, prefix string) (table.Reply, error) {
	if b.scan == nil {
		return b.Table.Scan(ctx, prefix)
	}
	return b.scan(ctx, b.Table, prefix)
}

func (b *broken) Mail(ctx context.Context, process string, ready func(), deliver func(table.Entry)) error {
	if b.mail == nil {
		return b.Table.Mail(ctx, process, ready, deliver)
	}
	return b.mail(ctx, b.Table, process, ready, deliver)
}

func (b *broken) Feed(ctx context.Context, prefix string, after uint64, deliver deliverFunc) error {
	if b.feed == nil {
		return b.Table.Feed(ctx, prefix, after, deliver)
	}
	return b.feed(ctx, b.Table, prefix, after, deliver)
}

// onePart commits each change in a transaction of its own.
func onePart(ctx context.Context, t *memtable.Table, changes []table.Change) (reply table.Reply, err error) {
	for _, c := range changes {
		one, err := t.Commit(ctx, []table.Change{c})
		if err != nil {
			return one, err
		}
		reply.Entries = append(reply.Entries, one.Entries...)
	}
	return reply, nil
}

// getThenSet compares the versions before the commit and not in it, as a storage does
// whose swap is not atomic.
func getThenSet(ctx context.Context, t *memtable.Table, changes []table.Change) (table.Reply, error) {
	var keys []string
	for _, c := range changes {
		keys = append(keys, c.Key)
	}
	present, err := t.Get(ctx, keys)
	if err != nil {
		return table.Reply{}, err
	}
	for i, c := range changes {
		if present.Entries[i].Version != c.If {
			present.Known = true
			return present, table.ErrConflict
		}
	}
	time.Sleep(time.Microsecond) // lets the other writers in
	return overwrite(ctx, t, changes)
}

// overwrite commits whatever the versions are.
func overwrite(ctx context.Context, t *memtable.Table, changes []table.Change) (table.Reply, error) {
	changes = slices.Clone(changes)
	for {
		reply, err := t.Commit(ctx, changes)
		if !errors.Is(err, table.ErrConflict) {
			return reply, err
		}
		for i, e := range reply.Entries {
			changes[i].If = e.Version
		}
	}
}

// valueVersions are versions that recur: a hash of the value, as an ETag can be.
func valueVersions(e table.Entry) table.Entry {
	if e.Version != "" {
		e.Version = table.Version("hash of " + string(e.Value))
	}
	return e
}

// withValueVersions commits if the record has the value of which the version is the hash.
func withValueVersions(ctx context.Context, t *memtable.Table, changes []table.Change) (table.Reply, error) {
	changes = slices.Clone(changes)
	for i, c := range changes {
		present, err := t.Get(ctx, []string{c.Key})
		if err != nil {
			return table.Reply{}, err
		}
		if e := present.Entries[0]; valueVersions(e).Version == c.If {
			changes[i].If = e.Version
		}
	}
	reply, err := t.Commit(ctx, changes)
	for i, e := range reply.Entries {
		reply.Entries[i] = valueVersions(e)
	}
	return reply, err
}

// getOneByOne reads each record at a moment of its own, with a commit in between.
func getOneByOne(ctx context.Context, t *memtable.Table, keys []string) (reply table.Reply, err error) {
	for _, key := range keys {
		one, err := t.Get(ctx, []string{key})
		if err != nil {
			return one, err
		}
		reply.Entries = append(reply.Entries, one.Entries...)
		if len(keys) > 1 && len(reply.Entries) < len(keys) {
			awaitCommit(ctx, t, one.At)
		}
	}
	return reply, nil
}

// awaitCommit returns after another commit, or after a while if there is none.
func awaitCommit(ctx context.Context, t *memtable.Table, at uint64) {
	for start := time.Now(); time.Since(start) < 10*time.Millisecond; runtime.Gosched() {
		if reply, err := t.Get(ctx, nil); err != nil || reply.At > at {
			return
		}
	}
}

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

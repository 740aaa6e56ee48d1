package tabletest

import (
	"context"
	"errors"
	"runtime"
	"slices"
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

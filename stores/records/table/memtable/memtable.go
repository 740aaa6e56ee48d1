// Package memtable is a table in the memory of one process: the reference of the table
// contract, on which the rules are tested.
package memtable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-memdb"

	"github.com/mortise-lock/mortise/internal/eventbuffer"
	"github.com/mortise-lock/mortise/stores/records/table"
)

const (
	maxKeys    = 64
	maxValue   = 1 << 20
	maxHistory = 4096 // changes that a feed can begin before
	maxPending = 1024 // changes that a slow feed or mailbox may be behind
)

// Storage holds the records. Tables of one Storage share them.
type Storage struct {
	db *memdb.MemDB

	mu       sync.Mutex // of commits, and of what follows
	sequence uint64     // of the last commit
	history  []change   // the last changes, in order
	feeds    map[*subscriber]struct{}
}

// record is a row of the database. Rows are never changed in place.
type record struct {
	Key     string
	Version uint64
	Value   []byte
}

func (r *record) entry() table.Entry {
	return table.Entry{Key: r.Key, Version: version(r.Version), Value: r.Value}
}

func version(sequence uint64) table.Version {
	return table.Version(strconv.FormatUint(sequence, 10))
}

// change is one change of a commit, as feeds and mailboxes get it.
type change struct {
	at    uint64
	entry table.Entry
	wake  string
}

// subscriber is a Feed or a Mail under way.
type subscriber struct {
	wants  func(change) bool
	buffer *eventbuffer.Buffer[change]
}

const records = "records" // the name of the only table

// New returns an empty Storage.
func New() *Storage {
	db, err := memdb.NewMemDB(&memdb.DBSchema{Tables: map[string]*memdb.TableSchema{records: {
		Name:    records,
		Indexes: map[string]*memdb.IndexSchema{"id": {Name: "id", Unique: true, Indexer: &memdb.StringFieldIndex{Field: "Key"}}},
	}}})
	if err != nil {
		panic(err) // the schema is constant
	}
	return &Storage{db: db, feeds: map[*subscriber]struct{}{}}
}

// Open returns another client of the storage.
func (s *Storage) Open() *Table { return &Table{storage: s, closed: make(chan struct{})} }

// Table is one client of a [Storage].
type Table struct {
	storage *Storage
	once    sync.Once
	closed  chan struct{}
}

var (
	_ table.Table   = (*Table)(nil)
	_ table.Scanner = (*Table)(nil)
	_ table.Mailer  = (*Table)(nil)
	_ table.Feeder  = (*Table)(nil)
)

// Traits implements [table.Table].
func (t *Table) Traits() table.Traits {
	return table.Traits{MaxKeys: maxKeys, MaxValue: maxValue, ReturnsVersions: true, Sequence: sequence}
}

// sequence returns the number of the commit that wrote a version.
func sequence(v table.Version) uint64 {
	n, _ := strconv.ParseUint(string(v), 10, 64) // of an absent record it is 0
	return n
}

// Close implements [table.Table].
func (t *Table) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

// check returns why a call with ctx ends, or nil.
func (t *Table) check(ctx context.Context) error {
	select {
	case <-t.closed:
		return table.ErrClosed
	default:
		return ctx.Err()
	}
}

// Get implements [table.Table].
func (t *Table) Get(ctx context.Context, keys []string) (table.Reply, error) {
	if err := t.check(ctx); err != nil {
		return table.Reply{}, err
	}
	t.storage.mu.Lock()
	defer t.storage.mu.Unlock()
	txn := t.storage.db.Txn(false)
	reply := t.storage.reply()
	for _, key := range keys {
		e, err := find(txn, key)
		if err != nil {
			return table.Reply{}, err
		}
		reply.Entries = append(reply.Entries, e)
	}
	return reply, nil
}

// find returns the record of a key, or an Entry without a version.
func find(txn *memdb.Txn, key string) (table.Entry, error) {
	row, err := txn.First(records, "id", key)
	if err != nil || row == nil {
		return table.Entry{Key: key}, err
	}
	return row.(*record).entry(), nil
}

// reply returns a Reply of this moment. The caller has locked mu.
func (s *Storage) reply() table.Reply {
	return table.Reply{Now: time.Now().UnixMicro(), At: s.sequence}
}

// Commit implements [table.Table].
func (t *Table) Commit(ctx context.Context, changes []table.Change) (table.Reply, error) {
	if err := errors.Join(t.check(ctx), checkSize(changes)); err != nil {
		return table.Reply{}, err
	}
	t.storage.mu.Lock()
	defer t.storage.mu.Unlock()
	txn := t.storage.db.Txn(true)
	defer txn.Abort()
	if reply, err := t.storage.compare(txn, changes); err != nil {
		return reply, err
	}
	at := t.storage.sequence + 1
	var reply table.Reply
	var applied []change
	for _, c := range changes {
		e, err := apply(txn, c, at)
		if err != nil {
			return table.Reply{}, err
		}
		reply.Entries = append(reply.Entries, e)
		if c.Value != nil || c.If != "" {
			applied = append(applied, change{at, e, c.Wake})
		}
	}
	txn.Commit()
	if len(applied) > 0 { // the history has a change for every number
		t.storage.sequence = at
		t.storage.publish(applied)
	}
	reply.Now, reply.At = time.Now().UnixMicro(), t.storage.sequence
	return reply, nil
}

func checkSize(changes []table.Change) error {
	if len(changes) > maxKeys {
		return fmt.Errorf("%w: must have at most %d keys, has %d", table.ErrTooLarge, maxKeys, len(changes))
	}
	for _, c := range changes {
		if len(c.Value) > maxValue {
			return fmt.Errorf("%w: the value of %q must be at most %d bytes, is %d", table.ErrTooLarge, c.Key, maxValue, len(c.Value))
		}
	}
	return nil
}

// compare fails with ErrConflict and the present records if one of them has another
// version than it must have.
func (s *Storage) compare(txn *memdb.Txn, changes []table.Change) (table.Reply, error) {
	reply, conflict := s.reply(), false
	for _, c := range changes {
		e, err := find(txn, c.Key)
		if err != nil {
			return table.Reply{}, err
		}
		conflict = conflict || e.Version != c.If
		reply.Entries = append(reply.Entries, e)
	}
	if conflict {
		reply.Known = true
		return reply, table.ErrConflict
	}
	return table.Reply{}, nil
}

// apply makes one change in the transaction and returns the new state of the record.
func apply(txn *memdb.Txn, c table.Change, at uint64) (table.Entry, error) {
	if c.Value == nil {
		if c.If == "" {
			return table.Entry{Key: c.Key}, nil
		}
		return table.Entry{Key: c.Key}, txn.Delete(records, &record{Key: c.Key})
	}
	r := &record{c.Key, at, slices.Clone(c.Value)}
	return r.entry(), txn.Insert(records, r)
}

// publish appends the changes to the history and to the buffers of the subscribers.
func (s *Storage) publish(changes []change) {
	s.history = append(s.history, changes...)
	if len(s.history) > 2*maxHistory {
		s.history = lastCommits(s.history, maxHistory)
	}
	for sub := range s.feeds {
		for _, c := range changes {
			if sub.wants(c) {
				sub.buffer.Add(c)
			}
		}
	}
}

// lastCommits returns a copy of the last n changes, without a commit that they have only
// a part of.
func lastCommits(history []change, n int) []change {
	from := len(history) - n
	for from < len(history) && history[from].at == history[from-1].at {
		from++
	}
	return slices.Clone(history[from:])
}

// Scan implements [table.Scanner].
func (t *Table) Scan(ctx context.Context, prefix string) (table.Reply, error) {
	if err := t.check(ctx); err != nil {
		return table.Reply{}, err
	}
	t.storage.mu.Lock()
	txn, reply := t.storage.db.Txn(false), t.storage.reply()
	t.storage.mu.Unlock()
	rows, err := txn.LowerBound(records, "id", prefix)
	if err != nil {
		return table.Reply{}, err
	}
	for row := rows.Next(); row != nil; row = rows.Next() {
		e := row.(*record).entry()
		if !strings.HasPrefix(e.Key, prefix) {
			break
		}
		reply.Entries = append(reply.Entries, e)
	}
	return reply, nil
}

// Mail implements [table.Mailer].
func (t *Table) Mail(ctx context.Context, process string, ready func(), deliver func(table.Entry)) error {
	sub, _, err := t.storage.subscribe(nil, func(c change) bool { return c.wake == process })
	if err != nil {
		return err
	}
	defer t.storage.unsubscribe(sub)
	ready()
	return t.receive(ctx, sub, func(c change) error {
		deliver(c.entry)
		return nil
	}, func() error { return nil })
}

// Feed implements [table.Feeder].
func (t *Table) Feed(ctx context.Context, prefix string, after uint64, deliver func(uint64, table.Entry) error) error {
	wants := func(c change) bool { return strings.HasPrefix(c.entry.Key, prefix) }
	sub, missed, err := t.storage.subscribe(&after, wants)
	if err != nil {
		return err
	}
	defer t.storage.unsubscribe(sub)
	pass := func(c change) error { return deliver(c.at, c.entry) }
	for _, c := range missed {
		if err := t.check(ctx); err != nil {
			return err
		}
		if err := pass(c); err != nil {
			return err
		}
	}
	return t.receive(ctx, sub, pass, func() error { return table.ErrGap })
}

// subscribe returns a new subscriber, and the changes after a place that it has missed.
func (s *Storage) subscribe(after *uint64, wants func(change) bool) (sub *subscriber, missed []change, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if after != nil {
		if len(s.history) > 0 && *after+1 < s.history[0].at {
			return nil, nil, table.ErrGap
		}
		for _, c := range s.history {
			if c.at > *after && wants(c) {
				missed = append(missed, c)
			}
		}
	}
	sub = &subscriber{wants, eventbuffer.New[change](maxPending)}
	s.feeds[sub] = struct{}{}
	return sub, missed, nil
}

func (s *Storage) unsubscribe(sub *subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.feeds, sub)
}

// receive calls pass with the changes of a subscriber, and overflowed when some were
// dropped, until one of them fails, ctx ends or the table is closed.
func (t *Table) receive(ctx context.Context, sub *subscriber, pass func(change) error, overflowed func() error) error {
	for {
		select {
		case <-sub.buffer.Ready():
		case <-ctx.Done():
		case <-t.closed:
		}
		t.storage.mu.Lock()
		changes, dropped := sub.buffer.Take()
		t.storage.mu.Unlock()
		if dropped {
			if err := overflowed(); err != nil {
				return err
			}
		}
		for _, c := range changes {
			if err := t.check(ctx); err != nil {
				return err
			}
			if err := pass(c); err != nil {
				return err
			}
		}
		if err := t.check(ctx); err != nil {
			return err
		}
	}
}

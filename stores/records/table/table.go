// Package table is the contract of a storage that can compare and swap: versioned records
// by key, which are changed in transactions. Rules for locks on such a storage will use
// it; no backend does yet.
//
// A storage implements [Table]. What only some storages can do is an interface of its
// own: [Scanner], [Mailer], [Feeder]. Package tabletest is the contract as executable
// rows, and package memtable the reference that the tests of the rules use.
package table

import (
	"context"
	"errors"
)

var (
	// ErrConflict reports that a Commit has changed nothing, because a record did not
	// have the version that it was to have.
	ErrConflict = errors.New("record has another version")
	// ErrGap reports that a feed cannot continue from the given place, because the
	// storage does not have all changes since then any more.
	ErrGap = errors.New("changes were dropped")
	// ErrTooLarge reports a Commit with more keys or a larger value than [Traits] allow.
	// Nothing was changed.
	ErrTooLarge = errors.New("transaction is too large")
	// ErrClosed reports a call on a table after its Close.
	ErrClosed = errors.New("table is closed")
)

// A Version identifies one state of a record. The empty Version is that of an absent
// record. Any other Version never recurs for its key, not even after the record was
// deleted and created again, unless [Traits.ReusesVersions] is set.
type Version string

// An Entry is a record as a Table returned it. Value is nil if the record is absent; the
// caller must not change it.
type Entry struct {
	Key     string
	Version Version
	Value   []byte
}

// A Change replaces, creates or deletes one record in a Commit.
type Change struct {
	Key   string
	If    Version // the version that the record must have; empty if it must be absent
	Value []byte  // nil deletes the record

	// Wake is the process that is notified of the new record (see [Mailer]), or empty.
	Wake string
}

// A Reply is what a Table answers.
type Reply struct {
	// Entries are the records of the keys that were asked for, in their order. After a
	// Commit they have the new versions, if [Traits.ReturnsVersions] is set.
	Entries []Entry

	// Known reports, beside ErrConflict, that Entries are the present records.
	Known bool

	// Now is the storage's clock in microseconds since the Unix epoch, read during the
	// call. It is zero if the storage has no clock.
	Now int64

	// At is the place in the feed of what was read or committed: a Feed from here
	// delivers exactly the changes that came later. It is zero if there is no feed.
	At uint64
}

// A Table keeps records. All methods are safe for concurrent use and honour ctx. Several
// clients, in several processes, may have the same storage open.
type Table interface {
	// Get returns the records of the keys as of one moment between its call and its
	// return. It is linearizable: it returns the effect of every Commit that had returned
	// before it was called.
	Get(ctx context.Context, keys []string) (Reply, error)

	// Commit applies all changes in one step, or none. The keys are distinct. With
	// ErrConflict, ErrTooLarge or ErrClosed nothing was changed; after any other error
	// the changes may have been applied, and may still be applied later.
	Commit(ctx context.Context, changes []Change) (Reply, error)

	// Traits returns what the storage can do. It is constant.
	Traits() Traits

	// Close ends the table's use of its storage. The records stay.
	Close() error
}

// Traits describe a storage.
type Traits struct {
	MaxKeys  int // the largest number of changes in a Commit; at least 1
	MaxValue int // the largest value in bytes

	ReturnsVersions bool // a Commit returns the new versions
	ReusesVersions  bool // a version may recur after its record was deleted

	// Sequence returns a number that grows with each version of a record, for storages
	// that have one; otherwise Sequence is nil.
	Sequence func(Version) uint64
}

// A Scanner can read all records below a prefix.
type Scanner interface {
	// Scan returns the records whose key begins with prefix, sorted by key, as of one
	// moment, with its place in the feed.
	Scan(ctx context.Context, prefix string) (Reply, error)
}

// A Mailer can notify a process of the records that are meant for it.
type Mailer interface {
	// Mail calls deliver, from one goroutine, with the record of each Change whose Wake
	// is the process, until ctx ends or the storage fails, and returns the reason. A
	// message may be lost and may come twice; ready is called when the messages of later
	// commits will come.
	Mail(ctx context.Context, process string, ready func(), deliver func(Entry)) error
}

// A Feeder can deliver every change.
type Feeder interface {
	// Feed calls deliver, from one goroutine, with the new state of each record below
	// prefix that was changed after the place, each once and in the order of the
	// commits, until ctx ends, deliver fails or the storage does. It fails with ErrGap if
	// that is not possible any more.
	Feed(ctx context.Context, prefix string, after uint64, deliver func(at uint64, e Entry) error) error
}

package stores

import (
	"context"
	"errors"
	"time"
)

// Errors about declared locks.
var (
	// ErrNotDeclared reports that the group has no such lock: it was never declared, or
	// it was withdrawn.
	ErrNotDeclared = errors.New("lock is not declared")
	// ErrDeclared reports that the lock is already declared.
	ErrDeclared = errors.New("lock is declared already")
	// ErrLimit reports that the group has reached the limit of its locks.
	ErrLimit = errors.New("group is full")
	// ErrRepeated reports that the owner already holds the declared lock or already waits
	// for it.
	ErrRepeated = errors.New("owner has the lock or waits for it already")
	// ErrGaveUp reports that an owner waited for a declared lock and called Release
	// meanwhile, which ended the wait.
	ErrGaveUp = errors.New("owner has given up waiting")
)

// A Declarer can declare locks. A declared lock exists even while it is free.
//
// A declared lock exists, held or free, until it is withdrawn. It belongs to a group,
// whose locks can be counted and listed without reading others. A request with that Group
// requires that the lock exists (see [Request]); a request without a Group can acquire
// the lock like any other. Callers must not declare a key in more than one group.
type Declarer interface {
	// Declare adds a lock to a group. It fails with ErrDeclared, and changes nothing, if
	// the group has the lock, and otherwise with ErrLimit if the group has d.Limit locks
	// or more.
	Declare(ctx context.Context, d Declaration) error

	// Withdraw removes the lock from the group and, in the same step, ends it if it is
	// held. Waiting requests that have the Group fail with ErrNotDeclared, even if the
	// lock is declared again at once. Withdraw fails with ErrNotDeclared if the group has
	// no such lock.
	Withdraw(ctx context.Context, group, key string) error

	// Release releases the lock as Unlock does. If the owner instead waits for it with a
	// request that has the lock's Group, Release ends that request with ErrGaveUp and
	// returns nil, also if the lock was granted to the request at the same moment.
	Release(ctx context.Context, key, owner string) error

	// Group returns the locks of a group, held or free, as of one moment, sorted by key.
	// It returns no error for a group without locks.
	Group(ctx context.Context, group string) ([]LockInfo, error)
}

// Declaration describes a lock to declare.
type Declaration struct {
	Group string        // a prefix of Key; 1 to MaxKeyLen bytes
	Key   string        // as in Request
	TTL   time.Duration // of grants to requests with the Group; MinTTL to MaxTTL
	Limit int           // the most locks in the group; no limit if zero or less
}

// Declare calls s's Declare. It fails with ErrUnsupported if s is not a [Declarer].
func Declare(ctx context.Context, s Store, d Declaration) error {
	if dc, ok := ability[Declarer](s); ok {
		return dc.Declare(ctx, d)
	}
	return unsupported(s, "declare")
}

// Withdraw calls s's Withdraw. It fails with ErrUnsupported if s is not a [Declarer].
func Withdraw(ctx context.Context, s Store, group, key string) error {
	if d, ok := ability[Declarer](s); ok {
		return d.Withdraw(ctx, group, key)
	}
	return unsupported(s, "declare")
}

// Release calls s's Release. It fails with ErrUnsupported if s is not a [Declarer].
func Release(ctx context.Context, s Store, key, owner string) error {
	if d, ok := ability[Declarer](s); ok {
		return d.Release(ctx, key, owner)
	}
	return unsupported(s, "declare")
}

// Group calls s's Group. It fails with ErrUnsupported if s is not a [Declarer].
func Group(ctx context.Context, s Store, group string) ([]LockInfo, error) {
	if d, ok := ability[Declarer](s); ok {
		return d.Group(ctx, group)
	}
	return nil, unsupported(s, "declare")
}

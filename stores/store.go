// Package stores defines the contract between the APIs, each of which serves a protocol,
// and the backends, which store locks.
//
// A backend implements the three methods of [Store] and those of the ability interfaces
// ([Renewer], [Waiter], [MultiLocker], [Lister], [Getter], [Revoker], [Watcher],
// [Declarer], [Pinger]) that its storage supports. Callers use the helper for each method
// ([TryLock], [Renew], [List] and so on); they neither call the methods nor assert types.
// The comments of the interfaces are the specification. A backend's own comments describe
// only how it differs and how its locks can be lost.
//
// A storage keeps the locks: a Redis server, or the memory of this process. A backend is
// the package for one kind of storage, and a store is a backend opened for one component.
//
// # Testing
//
// Package test/conformance checks the contract. A backend is complete when
// conformance.Run passes.
package stores

import (
	"context"
	"errors"
	"math"
	"time"
)

// Limits of a request. They are the same for every store, so that a program can change
// the store without renaming its locks.
const (
	MaxKeyLen   = 1024 // bytes
	MaxOwnerLen = 1024 // bytes
	MinTTL      = time.Millisecond
	MaxTTL      = math.MaxInt32 * time.Second // the largest value in Dapr's messages

	MaxKeys     = 64   // keys in a MultiRequest
	MaxHolding  = 64   // owners in a Request
	MaxMetadata = 4096 // bytes of all keys and values in a Request's metadata

	// ReservedPrefix must not begin a key: stores use such names for their own data. The
	// prefix of a list or a watch may begin with it.
	ReservedPrefix = "mortise:"
)

// Errors that callers distinguish with errors.Is. Any other error means that the storage
// could not be called or did not answer, and that the outcome is unknown: the lock may or
// may not have changed hands.
var (
	// ErrNotHeld reports that the lock is free: it was never acquired, it was released,
	// or it has expired.
	ErrNotHeld = errors.New("lock is not held")
	// ErrNotOwner reports that another owner holds the lock.
	ErrNotOwner = errors.New("lock belongs to another owner")
	// ErrDeadlock reports that waiting would never end: the holder of the lock waits,
	// directly or through others, for a lock of an owner in the request's Holding.
	ErrDeadlock = errors.New("waiting would be a deadlock")
	// ErrRefused reports that the storage rejects the operation until its permissions,
	// its configuration or its data change. Retrying before that cannot succeed.
	ErrRefused = errors.New("storage refuses the operation")
	// ErrNotLock reports that the key holds data of another program that is not a lock.
	// The data is unchanged, and retrying cannot succeed while it exists.
	ErrNotLock = errors.New("key holds data that is not a lock")
	// ErrUnreachable reports that the storage did not answer, or is starting or failing
	// over. A later call may succeed.
	ErrUnreachable = errors.New("storage is unreachable")
	// ErrUnsupported reports that the store does not have the ability.
	ErrUnsupported = errors.ErrUnsupported
	// ErrClosed reports a call on a store after its Close.
	ErrClosed = errors.New("store is closed")
)

// A Store stores locks. A lock is a key that at most one owner holds at a time.
//
// A lock is held from the moment it is granted until its owner's Unlock or until its TTL
// has passed on the store's own clock, whichever is first. An expired lock is free for
// every call, whether or not the store has removed it.
//
// All methods are safe for concurrent use. They return soon after ctx ends, with an error
// that wraps ctx.Err. Calls are linearizable per key: all clients of the same storage see
// the same order of grants.
//
// Arguments must be within the limits above; the APIs check them (see
// [Request.Validate]). Keys and owners are opaque bytes, except that the APIs reject keys
// that begin with ReservedPrefix.
//
// If other programs use the same storage, a key may hold data that is not a lock. Every
// call for such a key fails with ErrNotLock immediately and does not change the data. A
// call that waits fails in the same way when such data appears.
//
// Errors contain the store's name, the operation and the quoted key once, and never a
// password or a URL.
type Store interface {
	// TryLock acquires the lock if it is free, and does not wait for its release. If the
	// lock is held, TryLock returns a Grant with Acquired false and no error. The holder
	// is refused like any other owner, so a second TryLock never looks like a second
	// grant; Dapr's lock conformance suite requires that.
	//
	// After an error the lock may have been acquired. The caller may call Unlock with the
	// same owner, and the TTL ends the lock in any case. A store that retries a request
	// within one TryLock returns the result of sending it once.
	TryLock(ctx context.Context, req Request) (Grant, error)

	// Unlock releases the lock. It fails with ErrNotHeld if the lock is free and with
	// ErrNotOwner if another owner holds it, and then changes nothing.
	Unlock(ctx context.Context, key, owner string) error

	// Close releases the store's connections and waits for its goroutines. It does not
	// change locks. Later calls fail with ErrClosed, except for Close.
	Close() error
}

// FieldError reports an argument that is not within its limits.
type FieldError struct {
	Field   string // key, keys, owner, ttl, metadata, holding or group
	Problem string // the rule, without the key or the owner: "must not be empty"
}

// Error names the field and the problem.
func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

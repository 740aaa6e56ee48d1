// Package stores is the contract between the APIs, which speak a protocol, and the
// backends, which keep locks.
//
// A backend implements [Store], three methods, and whichever of the one-method ability
// interfaces ([Renewer], [Waiter], [MultiLocker], [Lister], [Getter], [Revoker],
// [Watcher], [Declarer], [Pinger]) its storage really has; callers go through the helper
// beside each ([Renew], [List] and so on) and never assert a type. What a backend must do
// is written on the interfaces; a backend's own comments say only how it differs and how
// its locks can be lost.
//
// # Testing
//
// Package test/conformance holds the contract as executable rows. A backend is finished
// when conformance.Run passes.
package stores

import (
	"context"
	"errors"
	"math"
	"time"
)

// Bounds of a request, the same for every store, so that a lock moves from one to another
// without a change of name.
const (
	MaxKeyLen   = 1024 // bytes
	MaxOwnerLen = 1024 // bytes
	MinTTL      = time.Millisecond
	MaxTTL      = math.MaxInt32 * time.Second // the most that Dapr's wire can say

	MaxKeys     = 64   // of a MultiRequest
	MaxHolding  = 64   // owners in a Request
	MaxMetadata = 4096 // bytes of all keys and values in a Request's metadata

	// ReservedPrefix begins no key: below it stores keep what is their own. Prefixes of
	// lists and watches may begin with it.
	ReservedPrefix = "mortise:"
)

// Outcomes that callers tell apart with errors.Is. Every other error means that the
// storage could not be asked or did not answer, and that the caller knows nothing: the
// lock may or may not have changed hands.
var (
	// ErrNotHeld reports that nobody holds the lock: it was never taken, it was given
	// back, or it has expired.
	ErrNotHeld = errors.New("lock is not held")
	// ErrNotOwner reports that somebody else holds the lock.
	ErrNotOwner = errors.New("lock belongs to another owner")
	// ErrDeadlock reports that waiting would never end: the lock is held by an owner that
	// itself waits, directly or through others, for one of the locks that the request
	// says are being held.
	ErrDeadlock = errors.New("waiting would be a deadlock")
	// ErrNotDeclared reports that the group has no such lock: it was never declared, or
	// it was withdrawn.
	ErrNotDeclared = errors.New("lock is not declared")
	// ErrDeclared reports that the group has the lock already.
	ErrDeclared = errors.New("lock is declared already")
	// ErrLimit reports that the group has as many locks as it may have.
	ErrLimit = errors.New("group is full")
	// ErrRepeated reports that the owner holds the declared lock already, or waits for it
	// already.
	ErrRepeated = errors.New("owner has the lock or waits for it already")
	// ErrGaveUp reports that the owner of a declared lock was waiting for it, and has
	// called Unlock meanwhile.
	ErrGaveUp = errors.New("owner has given up waiting")
	// ErrRefused reports that the storage answered and rejects the operation until its
	// permissions, its configuration or its data are changed. Repeating the call cannot
	// succeed.
	ErrRefused = errors.New("storage refuses the operation")
	// ErrNotLock reports that the key holds data of another program that is not a lock.
	// Nothing was changed, and repeating the call cannot succeed while the data is there.
	ErrNotLock = errors.New("key holds data that is not a lock")
	// ErrUnreachable reports that the storage did not answer, or cannot serve now because
	// it starts or fails over. A later call may succeed.
	ErrUnreachable = errors.New("storage is unreachable")
	// ErrUnsupported reports that the store's storage has no such ability.
	ErrUnsupported = errors.ErrUnsupported
	// ErrClosed reports a call on a store after its Close.
	ErrClosed = errors.New("store is closed")
)

// A Store keeps locks. A lock is a key that at most one owner holds at a time.
//
// A lock is held from the moment a TryLock is granted until its owner's Unlock or until
// its TTL has passed on the store's own clock, whichever is first. An expired lock is not
// held: by nobody, for every call, whether or not the store has cleaned it up.
//
// All methods are safe for concurrent use. All honour ctx: they return soon after it
// ends, with an error that wraps ctx.Err. Calls are linearizable per key: two clients of
// the same storage see one order of grants.
//
// Arguments are within the bounds above; APIs see to that (see [Request.Validate]). Keys
// and owners are opaque bytes, but for keys that begin with ReservedPrefix, which APIs
// refuse for every store.
//
// Where other programs keep data in the same storage, a key may hold data that is not a
// lock. Every call for such a key fails with ErrNotLock at once and leaves the data as it
// is, and so does a wait under way when the data appears.
//
// Errors carry the store's name, the operation and the quoted key once, and never a
// password or a URL.
type Store interface {
	// TryLock takes the lock if nobody holds it, without waiting for a holder. That it is
	// held is an answer and not an error: a Grant with Acquired false. The present owner
	// is refused like anybody else, so a second TryLock never looks like a second grant
	// (Dapr's lock conformance suite demands it).
	//
	// After an error the lock may have been taken; Unlock with the same owner is then
	// safe, and the TTL ends it in any case. A store that repeats a request inside one
	// TryLock answers as if it had sent it once.
	TryLock(ctx context.Context, req Request) (Grant, error)

	// Unlock gives the lock back. It fails with ErrNotHeld if nobody holds it and with
	// ErrNotOwner if somebody else does, and then changes nothing. If the owner waits for
	// it by a request with a Group, that is ended instead, with ErrGaveUp, and Unlock
	// returns nil.
	Unlock(ctx context.Context, key, owner string) error

	// Close ends the store's use of its storage and waits for what it started. Locks stay
	// as they are. Calls after Close, a second Close excepted, fail with ErrClosed.
	Close() error
}

// FieldError reports an argument that is out of bounds.
type FieldError struct {
	Field   string // key, keys, owner, ttl, metadata, holding or group
	Problem string // what is wrong with it, without its value
}

// Error names the field and the problem.
func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

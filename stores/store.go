// Package stores is the contract between the doors, which speak a protocol, and the backends, which keep locks.
//
// A backend implements [Store], three methods, and whichever of the one-method ability interfaces ([Renewer], [Lister],
// [Pinger]) its storage really has; callers go through the helper of the same name ([Renew], [List], [Ping]) and never
// assert a type. What a backend must do is written on the interfaces; a backend's own comments say only how it differs
// and how its locks can be lost.
//
// # Testing
//
// Package test/conformance holds the contract as executable rows. A backend is finished when conformance.Run passes.
package stores

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Bounds of a request, the same for every store, so that a lock moves from one to another without a change of name.
const (
	MaxKeyLen   = 1024 // bytes
	MaxOwnerLen = 1024 // bytes
	MinTTL      = time.Millisecond
	MaxTTL      = math.MaxInt32 * time.Second // the most that Dapr's wire can say
)

// Outcomes that callers tell apart with errors.Is. Every other error means that the storage could not be asked or did
// not answer, and that the caller knows nothing: the lock may or may not have changed hands.
var (
	// ErrNotHeld reports that nobody holds the lock: it was never taken, it was given back, or it has expired.
	ErrNotHeld = errors.New("lock is not held")
	// ErrNotOwner reports that somebody else holds the lock.
	ErrNotOwner = errors.New("lock belongs to another owner")
	// ErrUnsupported reports that the store's storage has no such ability.
	ErrUnsupported = errors.ErrUnsupported
	// ErrClosed reports a call on a store after its Close.
	ErrClosed = errors.New("store is closed")
)

// A Store keeps locks. A lock is a key that at most one owner holds at a time.
//
// A lock is held from the moment a TryLock is granted until its owner's Unlock or until its TTL has passed on the
// store's own clock, whichever is first. An expired lock is not held: by nobody, for every call, whether or not the
// store has cleaned it up.
//
// All methods are safe for concurrent use. All honour ctx: they return soon after it ends, with an error that wraps
// ctx.Err. Calls are linearizable per key: two clients of the same storage see one order of grants.
//
// Arguments are within the bounds above; doors see to that (see [Request.Validate]). Keys and owners are opaque bytes.
//
// Errors carry the store's name, the operation and the quoted key once, and never a password or a URL.
type Store interface {
	// TryLock takes the lock if nobody holds it, without waiting for a holder. That it is held is an answer and not an
	// error: a Grant with Acquired false. The present owner is refused like anybody else, so a second TryLock never
	// looks like a second grant (Dapr's lock conformance suite demands it).
	//
	// After an error the lock may have been taken; Unlock with the same owner is then safe, and the TTL ends it in any
	// case. A store that repeats a request inside one TryLock answers as if it had sent it once.
	TryLock(ctx context.Context, req Request) (Grant, error)

	// Unlock gives the lock back. It fails with ErrNotHeld if nobody holds it and with ErrNotOwner if somebody else
	// does, and then changes nothing.
	Unlock(ctx context.Context, key, owner string) error

	// Close ends the store's use of its storage and waits for what it started. Locks stay as they are. Calls after
	// Close, a second Close excepted, fail with ErrClosed.
	Close() error
}

// Request asks for a lock.
type Request struct {
	Key   string        // the lock's final name in the store: 1 to MaxKeyLen bytes
	Owner string        // whose lock it will be, unique per request: 1 to MaxOwnerLen bytes
	TTL   time.Duration // how long it lasts: MinTTL to MaxTTL; a store may round it up to the unit of its storage
}

// Grant is a store's answer to a request for a lock.
type Grant struct {
	// Acquired tells whether the owner holds the lock. If not, the other fields are zero.
	Acquired bool

	// Token is the fencing token: greater than every token the store gave for this key before, across unlock, expiry
	// and restarts of every process involved. A resource that refuses a token smaller than one it has seen is safe from
	// a holder that outlived its lease. Zero means that the lock has none, because a foreign program took it.
	Token uint64

	// Expires is when the holder must stop relying on the lock, on the caller's monotonic clock. It is counted from
	// before the request left, so it is never later than the moment the store lets somebody else in.
	Expires time.Time
}

// FieldError reports an argument that is out of bounds.
type FieldError struct {
	Field   string // key, owner or ttl
	Problem string // what is wrong with it, without its value
}

// Error names the field and the problem.
func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

// Validate returns a *FieldError for the first field that is out of bounds, or nil.
func (r Request) Validate() error {
	if err := ValidateKey(r.Key, r.Owner); err != nil {
		return err
	}
	switch {
	case r.TTL < MinTTL:
		return &FieldError{"ttl", fmt.Sprintf("is %v, the least is %v", r.TTL, MinTTL)}
	case r.TTL > MaxTTL:
		return &FieldError{"ttl", fmt.Sprintf("is %v, the most is %v", r.TTL, MaxTTL)}
	}
	return nil
}

// ValidateKey returns a *FieldError if key or owner is out of bounds, or nil.
func ValidateKey(key, owner string) error {
	if err := validateLen("key", key, MaxKeyLen); err != nil {
		return err
	}
	return validateLen("owner", owner, MaxOwnerLen)
}

func validateLen(field, value string, limit int) error {
	switch {
	case value == "":
		return &FieldError{field, "is empty"}
	case len(value) > limit:
		return &FieldError{field, fmt.Sprintf("is %d bytes long, the most is %d", len(value), limit)}
	}
	return nil
}

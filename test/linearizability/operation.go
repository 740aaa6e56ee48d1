package linearizability

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// Kind is the method of the contract that an operation calls.
type Kind string

// The kinds of operations. Read is List for one key.
const (
	TryLock Kind = "TryLock"
	Lock    Kind = "Lock"
	LockAll Kind = "LockAll"
	Renew   Kind = "Renew"
	Unlock  Kind = "Unlock"
	Revoke  Kind = "Revoke"
	Read    Kind = "Read"
)

// Outcome is the class of an operation's result.
type Outcome string

// The outcomes.
const (
	Granted  Outcome = "granted"   // or renewed
	Refused  Outcome = "refused"   // Acquired was false
	Freed    Outcome = "freed"     // Unlock or Revoke succeeded
	Seen     Outcome = "seen"      // Read succeeded
	NotHeld  Outcome = "not held"  // ErrNotHeld
	NotOwner Outcome = "not owner" // ErrNotOwner
	Canceled Outcome = "canceled"  // the context of a call that may wait ended
	Unknown  Outcome = "unknown"   // any other error
)

// Operation is one call of a store and its result. Times count from the start of the
// recording.
type Operation struct {
	Kind   Kind
	Worker int      // a worker makes one call after the other
	Keys   []string // exactly one, except for LockAll
	Owner  string   // empty in a Read, and in a Revoke that applies to any holder
	TTL    time.Duration
	Wait   bool // whether LockAll waits

	Call, Return  time.Duration // read before the call and after it
	Before, After int64         // positions of both among all calls and returns
	CtxEnd        time.Duration // when the call's context ends

	Outcome Outcome
	Token   uint64        // of a grant, or of the lock that Read found
	Expires time.Duration // of a grant
	Holder  string        // the owner that Read found; empty if the lock was free
	Err     error         // if the outcome is unknown
}

// waits reports whether the operation may wait in a queue.
func (op *Operation) waits() bool { return op.Kind == Lock || op.Kind == LockAll && op.Wait }

// acquires reports whether the operation can acquire a lock.
func (op *Operation) acquires() bool {
	return op.Kind == TryLock || op.Kind == Lock || op.Kind == LockAll
}

// duration returns how long the operation took, without an intended wait.
func (op *Operation) duration() time.Duration {
	if op.waits() && op.Outcome == Canceled {
		return op.Return - max(op.Call, op.CtxEnd)
	}
	return op.Return - op.Call
}

// call calls the store.
func (op *Operation) call(ctx context.Context, s stores.Store) (stores.Grant, error) {
	key := op.Keys[0]
	req := stores.Request{Key: key, Owner: op.Owner, TTL: op.TTL}
	switch op.Kind {
	case TryLock:
		return s.TryLock(ctx, req)
	case Lock:
		return stores.Lock(ctx, s, req)
	case LockAll:
		return stores.LockAll(ctx, s, stores.MultiRequest{Keys: op.Keys, Owner: op.Owner, TTL: op.TTL, Wait: op.Wait})
	case Renew:
		return stores.Renew(ctx, s, req)
	case Unlock:
		return stores.Grant{}, s.Unlock(ctx, key, op.Owner)
	case Revoke:
		return stores.Grant{}, stores.Revoke(ctx, s, key, op.Owner)
	}
	return stores.Grant{}, op.read(ctx, s)
}

// read records the holder of the lock.
func (op *Operation) read(ctx context.Context, s stores.Store) error {
	locks, err := stores.List(ctx, s, op.Keys[0])
	if i := slices.IndexFunc(locks, func(l stores.LockInfo) bool { return l.Key == op.Keys[0] }); i >= 0 {
		op.Holder, op.Token = locks[i].Owner, locks[i].Token
	}
	return err
}

// setOutcome records the result. ctx is the call's.
func (op *Operation) setOutcome(ctx context.Context, g stores.Grant, err error) {
	switch {
	case err == nil:
		op.Outcome = op.success(g)
	case errors.Is(err, stores.ErrNotHeld):
		op.Outcome = NotHeld
	case errors.Is(err, stores.ErrNotOwner):
		op.Outcome = NotOwner
	case op.waits() && ctx.Err() != nil && errors.Is(err, ctx.Err()):
		op.Outcome = Canceled
	default:
		op.Outcome, op.Err = Unknown, err
	}
}

func (op *Operation) success(g stores.Grant) Outcome {
	switch op.Kind {
	case Unlock, Revoke:
		return Freed
	case Read:
		return Seen
	}
	if !g.Acquired {
		return Refused
	}
	op.Token = g.Token
	return Granted
}

// String returns the operation and its outcome in one line, without times.
func (op *Operation) String() string {
	args := baseNames(op.Keys)
	if op.Owner != "" {
		args = append(args, op.Owner)
	}
	text := fmt.Sprintf("%s(%s)", op.Kind, strings.Join(args, ", "))
	if op.TTL > 0 {
		text += " for " + op.TTL.String()
	}
	if op.Kind == LockAll && op.Wait {
		text += " waiting"
	}
	return text + ": " + op.result()
}

// baseNames returns the keys without the prefix that all keys of a history have.
func baseNames(keys []string) []string {
	var names []string
	for _, key := range keys {
		names = append(names, path.Base(key))
	}
	return names
}

func (op *Operation) result() string {
	switch op.Outcome {
	case Granted:
		return fmt.Sprintf("granted, token %d, expires %v", op.Token, op.Expires)
	case Seen:
		if op.Holder == "" {
			return "the lock is free"
		}
		return fmt.Sprintf("%s holds the lock, token %d", op.Holder, op.Token)
	case Unknown:
		return fmt.Sprintf("unknown (%v)", op.Err)
	}
	return string(op.Outcome)
}

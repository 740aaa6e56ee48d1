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

// Kind is what an operation asks for: one method of the contract.
type Kind string

// What is recorded. Look is List for one key.
const (
	TryLock Kind = "TryLock"
	Lock    Kind = "Lock"
	LockAll Kind = "LockAll"
	Renew   Kind = "Renew"
	Unlock  Kind = "Unlock"
	Revoke  Kind = "Revoke"
	Look    Kind = "Look"
)

// Outcome is what the caller was told.
type Outcome string

// What a caller can be told.
const (
	Granted   Outcome = "granted"   // or renewed
	Refused   Outcome = "refused"   // Acquired was false
	Freed     Outcome = "freed"     // Unlock or Revoke succeeded
	Seen      Outcome = "seen"      // Look succeeded
	NotHeld   Outcome = "not held"  // ErrNotHeld
	NotOwner  Outcome = "not owner" // ErrNotOwner
	Cancelled Outcome = "cancelled" // the context of a call that waits ended
	Unknown   Outcome = "unknown"   // any other error
)

// Operation is one call of a store and what came of it. Moments are since the start of
// the recording.
type Operation struct {
	Kind   Kind
	Worker int      // who called: one call after the other
	Keys   []string // one; LockAll has some
	Owner  string   // empty in a Look, and in a Revoke from whoever holds the lock
	TTL    time.Duration
	Wait   bool // of LockAll

	Call, Return  time.Duration // read before the call and after it
	Before, After int64         // the same two in the order of all calls and returns, which the clock is too coarse to tell
	CtxEnd        time.Duration // when the call's context ended or would have ended

	Outcome Outcome
	Token   uint64        // of a grant, or of the lock that was seen
	Expires time.Duration // of a grant
	Holder  string        // who was seen to hold the lock; empty if nobody
	Err     error         // if the outcome is unknown
}

// waits tells whether the operation may be in a queue while it lasts.
func (op *Operation) waits() bool { return op.Kind == Lock || op.Kind == LockAll && op.Wait }

// takes tells whether the operation can take a lock.
func (op *Operation) takes() bool { return op.Kind == TryLock || op.Kind == Lock || op.Kind == LockAll }

// took is how long the operation lasted, not counting what it was to wait.
func (op *Operation) took() time.Duration {
	if op.waits() && op.Outcome == Cancelled {
		return op.Return - max(op.Call, op.CtxEnd)
	}
	return op.Return - op.Call
}

// ask calls the store.
func (op *Operation) ask(ctx context.Context, s stores.Store) (stores.Grant, error) {
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
	return stores.Grant{}, op.look(ctx, s)
}

// look notes who holds the lock.
func (op *Operation) look(ctx context.Context, s stores.Store) error {
	locks, err := stores.List(ctx, s, op.Keys[0])
	if i := slices.IndexFunc(locks, func(l stores.LockInfo) bool { return l.Key == op.Keys[0] }); i >= 0 {
		op.Holder, op.Token = locks[i].Owner, locks[i].Token
	}
	return err
}

// settle notes the answer. ctx is the call's.
func (op *Operation) settle(ctx context.Context, g stores.Grant, err error) {
	switch {
	case err == nil:
		op.Outcome = op.success(g)
	case errors.Is(err, stores.ErrNotHeld):
		op.Outcome = NotHeld
	case errors.Is(err, stores.ErrNotOwner):
		op.Outcome = NotOwner
	case op.waits() && ctx.Err() != nil && errors.Is(err, ctx.Err()):
		op.Outcome = Cancelled
	default:
		op.Outcome, op.Err = Unknown, err
	}
}

func (op *Operation) success(g stores.Grant) Outcome {
	switch op.Kind {
	case Unlock, Revoke:
		return Freed
	case Look:
		return Seen
	}
	if !g.Acquired {
		return Refused
	}
	op.Token = g.Token
	return Granted
}

// String tells the operation and its outcome in one line, without times.
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
	return text + ": " + op.answer()
}

// baseNames returns the keys without what the names of all keys of a history begin with.
func baseNames(keys []string) []string {
	var names []string
	for _, key := range keys {
		names = append(names, path.Base(key))
	}
	return names
}

func (op *Operation) answer() string {
	switch op.Outcome {
	case Granted:
		return fmt.Sprintf("granted, token %d, expires %v", op.Token, op.Expires)
	case Seen:
		if op.Holder == "" {
			return "nobody holds it"
		}
		return fmt.Sprintf("%s holds it, token %d", op.Holder, op.Token)
	case Unknown:
		return fmt.Sprintf("unknown (%v)", op.Err)
	}
	return string(op.Outcome)
}

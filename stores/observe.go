package stores

import (
	"context"
	"errors"
)

// An Observer hears of the calls of a store. All methods are safe for concurrent use.
type Observer interface {
	// Begin hears that an operation begins. It returns the ctx that the store is called
	// with, and what is to be called, once, with what has become of the operation.
	Begin(ctx context.Context, o Operation) (context.Context, func(Outcome))
}

// Operation is what a store is asked to do.
type Operation string

// The operations, one for each method. LockAll is two of them, since it may wait or not.
const (
	OpTryLock    Operation = "try_lock"
	OpTryLockAll Operation = "try_lock_all"
	OpLock       Operation = "lock"
	OpLockAll    Operation = "lock_all"
	OpRenew      Operation = "renew"
	OpUnlock     Operation = "unlock"
	OpRevoke     Operation = "revoke"
	OpList       Operation = "list"
	OpWatch      Operation = "watch"
	OpDeclare    Operation = "declare"
	OpWithdraw   Operation = "withdraw"
	OpGroup      Operation = "group"
	OpPing       Operation = "ping"
)

// Waits tells whether the operation waits for other clients, so that its time says
// nothing about the store.
func (o Operation) Waits() bool { return o == OpLock || o == OpLockAll || o == OpWatch }

// Outcome is what has become of an operation: Granted, Refused or Done, or one of the
// names that its error has in the table outcomes, or Failed.
type Outcome string

// Outcomes that are not the names of errors.
const (
	OutcomeGranted Outcome = "granted" // to an operation that takes locks
	OutcomeRefused Outcome = "refused" // the same
	OutcomeDone    Outcome = "ok"
	OutcomeFailed  Outcome = "error" // the storage could not be asked, or did not answer
)

// Outcomes that are names of errors.
const (
	OutcomeNotHeld  Outcome = "not_held"
	OutcomeNotOwner Outcome = "not_owner"
	OutcomeTimedOut Outcome = "timeout"
)

// outcomes are the names of errors; the first row that matches counts.
var outcomes = []struct {
	is      error
	outcome Outcome
}{
	{ErrNotHeld, OutcomeNotHeld},
	{ErrNotOwner, OutcomeNotOwner},
	{ErrDeadlock, "deadlock"},
	{ErrNotDeclared, "not_declared"},
	{ErrDeclared, "declared"},
	{ErrLimit, "limit"},
	{ErrRepeated, "repeated"},
	{ErrGaveUp, "gave_up"},
	{ErrRefused, "store_refused"},
	{ErrNotLock, "not_a_lock"},
	{ErrUnsupported, "unsupported"},
	{ErrClosed, "closed"},
	{context.Canceled, "cancelled"},
	{context.DeadlineExceeded, OutcomeTimedOut},
}

// OutcomeOf is the outcome of an operation that takes no locks, by its error.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return OutcomeDone
	}
	for _, row := range outcomes {
		if errors.Is(err, row.is) {
			return row.outcome
		}
	}
	return OutcomeFailed
}

// outcomeOfGrant is the outcome of an operation that takes locks.
func outcomeOfGrant(grant Grant, err error) Outcome {
	switch {
	case err != nil:
		return OutcomeOf(err)
	case grant.Acquired:
		return OutcomeGranted
	}
	return OutcomeRefused
}

// Observe returns a store that is s, with the same [Features], and lets the observer hear
// of every call but Close.
func Observe(s Store, o Observer) Store { return &observed{s, o} }

// observed is a store whose calls an observer hears of. It has the methods of every
// ability, and a call of one that the store has not fails as the helpers do, by which all
// methods go on to the store.
type observed struct {
	store    Store
	observer Observer
}

var _ interface {
	Store
	Renewer
	Waiter
	MultiLocker
	Lister
	Getter
	Revoker
	Watcher
	Declarer
	Pinger
} = (*observed)(nil)

// tell lets the observer hear of a call.
func (o *observed) tell(ctx context.Context, op Operation, call func(context.Context) error) error {
	ctx, end := o.observer.Begin(ctx, op)
	err := call(ctx)
	end(OutcomeOf(err))
	return err
}

// tellGrant lets the observer hear of a call that takes locks.
func (o *observed) tellGrant(ctx context.Context, op Operation, call func(context.Context) (Grant, error)) (Grant, error) {
	ctx, end := o.observer.Begin(ctx, op)
	grant, err := call(ctx)
	end(outcomeOfGrant(grant, err))
	return grant, err
}

func (o *observed) TryLock(ctx context.Context, req Request) (Grant, error) {
	return o.tellGrant(ctx, OpTryLock, func(ctx context.Context) (Grant, error) { return tryLock(ctx, o.store, req) })
}

func (o *observed) Lock(ctx context.Context, req Request) (Grant, error) {
	return o.tellGrant(ctx, OpLock, func(ctx context.Context) (Grant, error) { return lock(ctx, o.store, req) })
}

func (o *observed) LockAll(ctx context.Context, req MultiRequest) (Grant, error) {
	op := OpTryLockAll
	if req.Wait {
		op = OpLockAll
	}
	return o.tellGrant(ctx, op, func(ctx context.Context) (Grant, error) { return lockAll(ctx, o.store, req) })
}

func (o *observed) Renew(ctx context.Context, req Request) (grant Grant, err error) {
	err = o.tell(ctx, OpRenew, func(ctx context.Context) (err error) {
		grant, err = Renew(ctx, o.store, req)
		return err
	})
	return grant, err
}

func (o *observed) Unlock(ctx context.Context, key, owner string) error {
	return o.tell(ctx, OpUnlock, func(ctx context.Context) error { return Unlock(ctx, o.store, key, owner) })
}

func (o *observed) Revoke(ctx context.Context, key, owner string) error {
	return o.tell(ctx, OpRevoke, func(ctx context.Context) error { return Revoke(ctx, o.store, key, owner) })
}

func (o *observed) List(ctx context.Context, prefix string) (locks []LockInfo, err error) {
	err = o.tell(ctx, OpList, func(ctx context.Context) (err error) {
		locks, err = List(ctx, o.store, prefix)
		return err
	})
	return locks, err
}

// Get is a list of one lock for the observer, and one that is not held is an answer.
func (o *observed) Get(ctx context.Context, key string) (l LockInfo, err error) {
	_ = o.tell(ctx, OpList, func(ctx context.Context) error {
		if l, err = Get(ctx, o.store, key); errors.Is(err, ErrNotHeld) {
			return nil
		}
		return err
	})
	return l, err
}

// Watch ends well for the observer if it is tell that ends it.
func (o *observed) Watch(ctx context.Context, prefix string, tell func(Event) error) (err error) {
	var enough error
	_ = o.tell(ctx, OpWatch, func(ctx context.Context) error {
		err = Watch(ctx, o.store, prefix, func(e Event) error {
			enough = tell(e)
			return enough
		})
		if enough != nil {
			return nil
		}
		return err
	})
	return err
}

func (o *observed) Declare(ctx context.Context, d Declaration) error {
	return o.tell(ctx, OpDeclare, func(ctx context.Context) error { return Declare(ctx, o.store, d) })
}

func (o *observed) Withdraw(ctx context.Context, group, key string) error {
	return o.tell(ctx, OpWithdraw, func(ctx context.Context) error { return Withdraw(ctx, o.store, group, key) })
}

func (o *observed) Group(ctx context.Context, group string) (locks []LockInfo, err error) {
	err = o.tell(ctx, OpGroup, func(ctx context.Context) (err error) {
		locks, err = Group(ctx, o.store, group)
		return err
	})
	return locks, err
}

func (o *observed) Ping(ctx context.Context) error {
	return o.tell(ctx, OpPing, func(ctx context.Context) error { return Ping(ctx, o.store) })
}

func (o *observed) Close() error { return o.store.Close() }

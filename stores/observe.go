package stores

import (
	"context"
	"errors"
)

// An Observer is notified of the calls of a store. All methods are safe for concurrent
// use.
type Observer interface {
	// Begin is called when an operation begins. It returns the ctx to call the store
	// with, and a function that is called once with the outcome when the operation ends.
	Begin(ctx context.Context, o Operation) (context.Context, func(Outcome))
}

// Operation is the name of a store's method.
type Operation string

// The operations. LockAll has two, because it waits only if the request says so. Get is
// observed as OpList.
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
	OpRelease    Operation = "release"
	OpGroup      Operation = "group"
	OpPing       Operation = "ping"
)

// Waits reports whether the operation waits for other clients. The duration of such an
// operation does not depend on the store alone.
func (o Operation) Waits() bool { return o == OpLock || o == OpLockAll || o == OpWatch }

// Outcome is the result of an operation: one of the constants, or the name of another
// error of this package.
type Outcome string

// Outcomes that are not the names of errors. Only operations that acquire locks are
// granted or refused.
const (
	OutcomeGranted Outcome = "granted"
	OutcomeRefused Outcome = "refused"
	OutcomeDone    Outcome = "ok"
	OutcomeFailed  Outcome = "error" // the storage could not be called or did not answer
)

// Outcomes that are the names of errors.
const (
	OutcomeNotHeld  Outcome = "not_held"
	OutcomeNotOwner Outcome = "not_owner"
	OutcomeTimedOut Outcome = "timeout"
)

// outcomes are the names of errors. The first row that matches applies.
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

// OutcomeOf returns the outcome of an operation that does not acquire locks, given its
// error.
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

// outcomeOfGrant returns the outcome of an operation that acquires locks.
func outcomeOfGrant(grant Grant, err error) Outcome {
	switch {
	case err != nil:
		return OutcomeOf(err)
	case grant.Acquired:
		return OutcomeGranted
	}
	return OutcomeRefused
}

// Observe returns a store that behaves as s, with the same [Features], and notifies the
// observer of every call except Close.
func Observe(s Store, o Observer) Store { return &observed{s, o} }

// observed decorates a store with an observer. It has the methods of all abilities; each
// calls the helper of the same name, which fails if the store does not have the ability.
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

// observeResult notifies the observer of a call that has a result.
func observeResult[T any](ctx context.Context, o *observed, op Operation, call func(context.Context) (T, error)) (T, error) {
	ctx, end := o.observer.Begin(ctx, op)
	result, err := call(ctx)
	end(OutcomeOf(err))
	return result, err
}

// observe notifies the observer of a call that has no result.
func (o *observed) observe(ctx context.Context, op Operation, call func(context.Context) error) error {
	ctx, end := o.observer.Begin(ctx, op)
	err := call(ctx)
	end(OutcomeOf(err))
	return err
}

// observeGrant notifies the observer of a call that acquires locks.
func (o *observed) observeGrant(ctx context.Context, op Operation, call func(context.Context) (Grant, error)) (Grant, error) {
	ctx, end := o.observer.Begin(ctx, op)
	grant, err := call(ctx)
	end(outcomeOfGrant(grant, err))
	return grant, err
}

func (o *observed) TryLock(ctx context.Context, req Request) (Grant, error) {
	return o.observeGrant(ctx, OpTryLock, func(ctx context.Context) (Grant, error) { return tryLock(ctx, o.store, req) })
}

func (o *observed) Lock(ctx context.Context, req Request) (Grant, error) {
	return o.observeGrant(ctx, OpLock, func(ctx context.Context) (Grant, error) { return lock(ctx, o.store, req) })
}

func (o *observed) LockAll(ctx context.Context, req MultiRequest) (Grant, error) {
	op := OpTryLockAll
	if req.Wait {
		op = OpLockAll
	}
	return o.observeGrant(ctx, op, func(ctx context.Context) (Grant, error) { return lockAll(ctx, o.store, req) })
}

func (o *observed) Renew(ctx context.Context, req Request) (Grant, error) {
	return observeResult(ctx, o, OpRenew, func(ctx context.Context) (Grant, error) { return Renew(ctx, o.store, req) })
}

func (o *observed) Unlock(ctx context.Context, key, owner string) error {
	return o.observe(ctx, OpUnlock, func(ctx context.Context) error { return Unlock(ctx, o.store, key, owner) })
}

func (o *observed) Revoke(ctx context.Context, key, owner string) error {
	return o.observe(ctx, OpRevoke, func(ctx context.Context) error { return Revoke(ctx, o.store, key, owner) })
}

func (o *observed) List(ctx context.Context, prefix string) ([]LockInfo, error) {
	return observeResult(ctx, o, OpList, func(ctx context.Context) ([]LockInfo, error) { return List(ctx, o.store, prefix) })
}

// Get is observed as a list of one lock. ErrNotHeld is a successful outcome of it.
func (o *observed) Get(ctx context.Context, key string) (l LockInfo, err error) {
	_ = o.observe(ctx, OpList, func(ctx context.Context) error {
		if l, err = Get(ctx, o.store, key); errors.Is(err, ErrNotHeld) {
			return nil
		}
		return err
	})
	return l, err
}

// Watch is observed as successful if handle ends it.
func (o *observed) Watch(ctx context.Context, prefix string, handle func(Event) error) (err error) {
	var handleErr error
	_ = o.observe(ctx, OpWatch, func(ctx context.Context) error {
		err = Watch(ctx, o.store, prefix, func(e Event) error {
			handleErr = handle(e)
			return handleErr
		})
		if handleErr != nil {
			return nil
		}
		return err
	})
	return err
}

func (o *observed) Declare(ctx context.Context, d Declaration) error {
	return o.observe(ctx, OpDeclare, func(ctx context.Context) error { return Declare(ctx, o.store, d) })
}

func (o *observed) Withdraw(ctx context.Context, group, key string) error {
	return o.observe(ctx, OpWithdraw, func(ctx context.Context) error { return Withdraw(ctx, o.store, group, key) })
}

func (o *observed) Release(ctx context.Context, key, owner string) error {
	return o.observe(ctx, OpRelease, func(ctx context.Context) error { return Release(ctx, o.store, key, owner) })
}

func (o *observed) Group(ctx context.Context, group string) ([]LockInfo, error) {
	return observeResult(ctx, o, OpGroup, func(ctx context.Context) ([]LockInfo, error) { return Group(ctx, o.store, group) })
}

func (o *observed) Ping(ctx context.Context) error {
	return o.observe(ctx, OpPing, func(ctx context.Context) error { return Ping(ctx, o.store) })
}

func (o *observed) Close() error { return o.store.Close() }

package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// unlockTimeout bounds Unlock, and the release of the remaining locks of a lost lease.
const unlockTimeout = 5 * time.Second

// Lease is one held lock, or several. The client renews it until Unlock, even after the
// ctx of the Lock call has ended; without Unlock the lock stays held until Close. All
// methods are safe for concurrent use.
type Lease struct {
	conn    *connection
	store   string
	quoted  string // the quoted resource, or resources
	keys    []string
	owner   string
	token   uint64
	ttl     time.Duration
	noRenew bool
	parent  *Lease // carried by the ctx of the Lock call, or nil

	extraHolding []string // owners that its request declared in addition to those of ctx

	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{}

	renewCtx     context.Context // ends with the lease
	stopRenewing context.CancelFunc
	renewals     sync.WaitGroup // renewals in progress, and renewLoop

	mu          sync.Mutex
	expires     time.Time
	wallExpires time.Time   // expires on the wall clock, which runs during system sleep
	timer       *time.Timer // runs expire
	renewErr    error       // of the last renewal that its caller did not cancel, or nil
	err         error       // why it has ended, or nil

	unlocking sync.Mutex // held by Unlock
	unlocked  bool       // guarded by unlocking: the server has responded to an Unlock
}

// newLease returns a lease whose renewal has not started.
func newLease(r *request, token uint64, sent time.Time) *Lease {
	ctx := r.callerCtx
	l := &Lease{
		conn: r.connection, store: r.store, quoted: r.quoted, keys: r.keys, owner: r.owner,
		token: token, ttl: r.ttl, noRenew: r.noRenew, extraHolding: r.holding, done: make(chan struct{}),
	}
	l.parent, _ = LeaseFrom(ctx)
	l.ctx, l.cancel = context.WithCancelCause(context.WithValue(ctx, leaseKey{}, l))
	l.renewCtx, l.stopRenewing = context.WithCancel(context.WithoutCancel(ctx))
	l.setExpiry(sent)
	return l
}

// start starts the renewal of the lease. It returns false if the client is closed.
func (l *Lease) start() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.conn.addLease(l) {
		l.stopRenewing()
		l.cancel(ErrClosed)
		return false
	}
	l.timer = time.AfterFunc(time.Until(l.expires), l.expire)
	l.renewals.Go(l.renewLoop)
	return true
}

// Context returns the ctx for the work under the lock. It is a child of the ctx of the
// Lock call. It ends with that ctx, with Unlock, and when the lease is lost, then with
// the cause [ErrLost]. A lease that expires is lost before the store can grant the lock
// to another owner; a revoked lease is lost at its next renewal.
//
// A Lock call with this ctx, or with a child of it, detects deadlocks with this lock.
func (l *Lease) Context() context.Context { return l.ctx }

// Token returns the fencing token. It is larger than every earlier token of the lock;
// renewals do not change it. A resource that rejects tokens smaller than the largest it
// has seen is safe from holders that have not yet noticed the loss of the lock. It is 0
// if the store has no tokens.
func (l *Lease) Token() uint64 { return l.token }

// Expires returns when the lease ends unless it is renewed: one TTL after the request or
// the last renewal was sent.
func (l *Lease) Expires() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.expires
}

// Key returns the lock's key in the store: the resource with its namespace and tenant. If
// the lease has several locks, it is the first key.
func (l *Lease) Key() string { return l.keys[0] }

// Keys returns the keys of all locks of the lease, sorted.
func (l *Lease) Keys() []string { return append([]string(nil), l.keys...) }

// Done returns a channel that is closed when the lease has ended, by a loss or by Unlock.
// Unlike Context it does not end with the caller's ctx.
func (l *Lease) Done() <-chan struct{} { return l.done }

// Err returns nil until Done is closed, and then the reason: [ErrLost], or [ErrNotHeld]
// after Unlock.
func (l *Lease) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Renew extends the lease to a full TTL from now. It is only needed with [NoRenew], or
// before work that must not be interrupted. It fails with [ErrLost] if the lease is lost,
// and with [ErrNotHeld] after Unlock; after any other error the lease lasts until
// Expires.
func (l *Lease) Renew(ctx context.Context) error {
	done, err := l.beginRenewal()
	if err != nil {
		return err
	}
	defer done()
	bound, cancel := context.WithDeadline(ctx, l.Expires())
	defer cancel()
	defer context.AfterFunc(l.renewCtx, cancel)()
	return l.renew(ctx, bound)
}

// Unlock ends Context, stops the renewal and releases the lock. It uses ctx's values but
// ignores its end, so it also works after the work was canceled. It takes at most five
// seconds, and never longer than the lease lasts.
//
// It returns nil if the lock was held until now; [ErrLost] if it was not, or if a broken
// connection makes that unknown; [ErrUnavailable] if Mortise did not respond, in which
// case the lock expires with its TTL; and [ErrNotHeld] after an earlier Unlock.
func (l *Lease) Unlock(ctx context.Context) error {
	l.unlocking.Lock()
	defer l.unlocking.Unlock()
	err := l.endForUnlock()
	l.renewals.Wait()
	if err != nil {
		return err
	}
	ctx, cancel := l.unlockContext(ctx)
	defer cancel()
	return wrapOp("unlock", l.quoted, l.release(ctx))
}

// beginRenewal admits one renewal of a lease that has not ended. The caller calls done
// when the renewal is done.
func (l *Lease) beginRenewal() (done func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checkExpiry()
	if l.err != nil {
		return nil, l.err
	}
	l.renewals.Add(1)
	return l.renewals.Done, nil
}

// renew sends one renewal of each key, bounded by bound, and returns the lease's error if
// the lease has ended. It reports an end of ctx as ctx's error.
func (l *Lease) renew(ctx, bound context.Context) error {
	sent := time.Now()
	errs := l.conn.renew(bound, l.store, l.keys, l.owner, l.ttl)
	for i, err := range errs {
		errs[i] = l.conn.explain(ctx, err)
	}
	for _, err := range errs {
		if isNotHeld(err) {
			l.lose(lossReason(err))
			l.unlockRemaining(errs)
			return l.Err()
		}
	}
	failure := cmp.Or(errs...)
	if err := l.extend(sent, failure); err != nil {
		return err
	}
	return wrapOp("renew", l.quoted, failure)
}

// extend moves Expires to one TTL after the renewal was sent, unless the renewal failed.
// A response that arrives after the old Expires is too late.
func (l *Lease) extend(sent time.Time, failure error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !isContextError(failure) && !(l.renewErr != nil && timedOut(failure)) {
		l.renewErr = failure
	}
	l.checkExpiry()
	if l.err == nil && failure == nil && sent.Add(l.ttl).After(l.expires) {
		l.setExpiry(sent)
		l.timer.Reset(time.Until(l.expires))
	}
	return l.err
}

// isContextError reports whether a renewal failed because its caller's ctx ended. Such an
// error is not kept as the cause of an expiry.
func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// timedOut reports whether a renewal failed because Mortise did not respond in time. Such
// an error does not replace an earlier, more specific cause.
func timedOut(err error) bool {
	var a *rpcError
	return errors.As(err, &a) && a.timedOut()
}

// setExpiry sets Expires to one TTL after sent.
func (l *Lease) setExpiry(sent time.Time) {
	l.expires = sent.Add(l.ttl)
	l.wallExpires = l.expires.Round(0)
}

// release unlocks every key, and retries those without a response.
func (l *Lease) release(ctx context.Context) error {
	pause := backoff{next: 20 * time.Millisecond, max: 500 * time.Millisecond}
	keys, lost := l.keys, error(nil)
	for {
		var failure error
		var left []string
		for i, err := range l.conn.unlock(ctx, l.store, keys, l.owner, grpc.WaitForReady(true)) {
			switch err := l.conn.explain(context.WithoutCancel(ctx), err); {
			case isNotHeld(err):
				lost = fmt.Errorf("%w: %w", ErrLost, lossReason(err))
			case err != nil:
				failure = err
				left = append(left, keys[i])
			}
		}
		if len(left) == 0 {
			l.unlocked = true
			return lost
		}
		if !errors.Is(failure, ErrUnavailable) || !pause.sleep(ctx, l.Expires()) {
			return withCause(lost, failure)
		}
		keys = left
	}
}

// unlockRemaining releases the locks of a lost lease that may still be held in the store.
func (l *Lease) unlockRemaining(errs []error) {
	var keys []string
	for i, err := range errs {
		if !isNotHeld(err) {
			keys = append(keys, l.keys[i])
		}
	}
	if len(keys) == 0 {
		return
	}
	ctx, cancel := l.unlockContext(l.renewCtx)
	defer cancel()
	l.conn.unlock(ctx, l.store, keys, l.owner)
}

// unlockContext returns a ctx with ctx's values that lasts for unlockTimeout, but no
// longer than the lease.
func (l *Lease) unlockContext(ctx context.Context) (context.Context, context.CancelFunc) {
	end := time.Now().Add(unlockTimeout)
	if expires := l.Expires(); expires.Before(end) {
		end = expires
	}
	return context.WithDeadline(context.WithoutCancel(ctx), end)
}

type leaseKey struct{}

// LeaseFrom returns the lease that ctx carries, the innermost if there are several. In
// the fn of [Do], it is the lease of Do's lock.
func LeaseFrom(ctx context.Context) (*Lease, bool) {
	l, ok := ctx.Value(leaseKey{}).(*Lease)
	return l, ok
}

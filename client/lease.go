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

// unlockTimeout bounds Unlock, and the giving back of the other locks of a lost lease.
const unlockTimeout = 5 * time.Second

// Lease is a lock that is held, or several. It renews itself until Unlock, even after the
// ctx that it was taken with has ended; who forgets Unlock keeps the lock. All methods
// are safe for concurrent use.
type Lease struct {
	conn    *connection
	store   string
	quoted  string // the quoted resource, or resources
	keys    []string
	owner   string
	token   uint64
	ttl     time.Duration
	noRenew bool
	parent  *Lease // that the ctx carries which it was taken with, or nil

	declared []string // owners that its request declared besides those of ctx

	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{}

	renewCtx     context.Context // ends with the lease
	stopRenewing context.CancelFunc
	renewals     sync.WaitGroup // renewals, and what keeps the lease

	mu          sync.Mutex
	expires     time.Time
	wallExpires time.Time   // expires by the wall clock, which goes on while the machine sleeps
	timer       *time.Timer // runs expire
	renewErr    error       // why the last renewal failed that its caller did not give up, or nil
	err         error       // why it has ended, or nil

	unlocking sync.Mutex // held by Unlock
	unlocked  bool       // guarded by unlocking: the server has answered an Unlock
}

// newLease returns a lease that is not kept yet.
func newLease(r *request, token uint64, sent time.Time) *Lease {
	ctx := r.callerCtx
	l := &Lease{
		conn: r.connection, store: r.store, quoted: r.quoted, keys: r.keys, owner: r.owner,
		token: token, ttl: r.ttl, noRenew: r.noRenew, declared: r.holding, done: make(chan struct{}),
	}
	l.parent, _ = LeaseFrom(ctx)
	l.ctx, l.cancel = context.WithCancelCause(context.WithValue(ctx, leaseKey{}, l))
	l.renewCtx, l.stopRenewing = context.WithCancel(context.WithoutCancel(ctx))
	l.setExpiry(sent)
	return l
}

// start begins to keep the lease. It returns false if the client is closed.
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

// Context is for the work under the lock. It has the values of the ctx that the lock was
// taken with, and ends with it; when the lease is lost, with cause [ErrLost]; and with
// Unlock. A lease that expires is lost before the store may let somebody else in; one
// that was revoked, when the next renewal hears of it.
//
// A Lock that is called with it, or with a ctx that stems from it, can tell when waiting
// would be a deadlock.
func (l *Lease) Context() context.Context { return l.ctx }

// Token is the fencing token: larger than every token given for the lock before, and kept
// by renewals. A resource that refuses a smaller token than it has seen is safe from
// holders that do not know yet that they lost the lock. It is 0 if the store has none.
func (l *Lease) Token() uint64 { return l.token }

// Expires is when the lease ends if it is not renewed before, counted from before the
// request or the renewal was sent.
func (l *Lease) Expires() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.expires
}

// Key is the lock's name in the store: that of the resource, with namespace and tenant.
// Of several it is the first.
func (l *Lease) Key() string { return l.keys[0] }

// Keys are the names of all its locks in the store, sorted.
func (l *Lease) Keys() []string { return append([]string(nil), l.keys...) }

// Done is closed when the lease has ended, by a loss or by Unlock. Unlike Context it does
// not end with the caller's ctx.
func (l *Lease) Done() <-chan struct{} { return l.done }

// Err is nil until Done is closed, and then tells why: [ErrLost], or [ErrNotHeld] after
// Unlock.
func (l *Lease) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Renew lets the lock last for its TTL from now. There is no need to call it but for
// [NoRenew], or before work that must not be interrupted. It fails with [ErrLost] if the
// lease is lost, and [ErrNotHeld] after Unlock; after any other error the lease goes on
// until Expires.
func (l *Lease) Renew(ctx context.Context) error {
	leave, err := l.beginRenewal()
	if err != nil {
		return err
	}
	defer leave()
	bound, cancel := context.WithDeadline(ctx, l.Expires())
	defer cancel()
	defer context.AfterFunc(l.renewCtx, cancel)()
	return l.renew(ctx, bound)
}

// Unlock gives the lock back, after it has ended Context and stopped renewing. It uses
// ctx's values only and not its end, so it works when the work was cancelled; it takes
// five seconds at the most, and never longer than the lease lasts.
//
// It returns nil if the lock was held until now; [ErrLost] if it was not, or if that
// cannot be known because a connection broke; [ErrUnavailable] if Mortise did not answer,
// so that the TTL ends the lock; and [ErrNotHeld] if Unlock was called before.
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

// enter admits one renewal of a lease that has not ended. The caller calls leave when the
// renewal is done.
func (l *Lease) beginRenewal() (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checkExpiry()
	if l.err != nil {
		return nil, l.err
	}
	l.renewals.Add(1)
	return l.renewals.Done, nil
}

// renew asks for all keys once, within bound, and returns the lease's error if it has
// ended. Trouble that has to do with ctx is told as such.
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
	trouble := cmp.Or(errs...)
	if err := l.extend(sent, trouble); err != nil {
		return err
	}
	return wrapOp("renew", l.quoted, trouble)
}

// extend moves Expires to a TTL after the renewal was sent, unless there was trouble with
// it. An answer that comes after the old Expires is too late.
func (l *Lease) extend(sent time.Time, trouble error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !isContextError(trouble) && !(l.renewErr != nil && timedOut(trouble)) {
		l.renewErr = trouble
	}
	l.checkExpiry()
	if l.err == nil && trouble == nil && sent.Add(l.ttl).After(l.expires) {
		l.setExpiry(sent)
		l.timer.Reset(time.Until(l.expires))
	}
	return l.err
}

// impatience tells whether a renewal failed because its caller's ctx ended, which is not
// why the lease may expire.
func isContextError(trouble error) bool {
	return errors.Is(trouble, context.Canceled) || errors.Is(trouble, context.DeadlineExceeded)
}

// timedOut reports whether a renewal failed because Mortise did not answer in time, which
// says less about why the lease may expire than an earlier answer.
func timedOut(trouble error) bool {
	var a *rpcError
	return errors.As(trouble, &a) && a.timedOut()
}

// setExpiry sets Expires to a TTL after sent.
func (l *Lease) setExpiry(sent time.Time) {
	l.expires = sent.Add(l.ttl)
	l.wallExpires = l.expires.Round(0)
}

// giveBack unlocks every key, and repeats that for those that got no answer.
func (l *Lease) release(ctx context.Context) error {
	pause := backoff{next: 20 * time.Millisecond, max: 500 * time.Millisecond}
	keys, lost := l.keys, error(nil)
	for {
		var trouble error
		var left []string
		for i, err := range l.conn.unlock(ctx, l.store, keys, l.owner, grpc.WaitForReady(true)) {
			switch err := l.conn.explain(context.WithoutCancel(ctx), err); {
			case isNotHeld(err):
				lost = fmt.Errorf("%w: %w", ErrLost, lossReason(err))
			case err != nil:
				trouble = err
				left = append(left, keys[i])
			}
		}
		if len(left) == 0 {
			l.unlocked = true
			return lost
		}
		if !errors.Is(trouble, ErrUnavailable) || !pause.sleep(ctx, l.Expires()) {
			return withCause(lost, trouble)
		}
		keys = left
	}
}

// freeSurvivors gives back the locks of a lost lease that were not said to be gone.
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

// bound returns a ctx with ctx's values that lasts for unlockTimeout, but no longer than
// the lease.
func (l *Lease) unlockContext(ctx context.Context) (context.Context, context.CancelFunc) {
	end := time.Now().Add(unlockTimeout)
	if expires := l.Expires(); expires.Before(end) {
		end = expires
	}
	return context.WithDeadline(context.WithoutCancel(ctx), end)
}

type leaseKey struct{}

// LeaseFrom returns the lease that ctx belongs to, the innermost if there are several: in
// [Do], that of the lock being held.
func LeaseFrom(ctx context.Context) (*Lease, bool) {
	l, ok := ctx.Value(leaseKey{}).(*Lease)
	return l, ok
}

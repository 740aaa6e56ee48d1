package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
)

const (
	// abandonTimeout bounds the Unlock that follows a failed request.
	abandonTimeout = 500 * time.Millisecond
	// undoTimeout bounds one Unlock before a request is retried.
	undoTimeout = 5 * time.Second
	// responseTimeout is how long after the time to wait the response may arrive.
	responseTimeout = time.Second
)

// TryLock acquires the lock if it is free and has no waiters; otherwise it fails with
// [ErrLocked]. It never waits for the lock. If Mortise is unreachable, it fails with
// [ErrUnavailable].
func (c *Client) TryLock(ctx context.Context, resource string, opts ...Option) (*Lease, error) {
	return c.acquire(ctx, "try lock", []string{resource}, append(slices.Clip(opts), Wait(0)))
}

// Lock acquires the lock. It waits, first come first served, until the lock is granted or
// ctx ends; after the time of [Wait] it fails with [ErrLocked]. If Mortise restarts or
// its storage is unreachable meanwhile, Lock retries, at the end of the queue.
//
// If the lock is held by a lease that ctx carries (see [Lease.Context]), or by an owner
// that waits for such a lease, Lock fails with [ErrDeadlock].
//
// After an error the lock is not held. If ctx ends while the server may be granting the
// lock, Lock releases it before it returns, which takes at most half a second; if the
// server does not respond in that time, the lock expires with its TTL.
func (c *Client) Lock(ctx context.Context, resource string, opts ...Option) (*Lease, error) {
	return c.acquire(ctx, "lock", []string{resource}, opts)
}

// LockAll acquires the locks of all resources atomically, and otherwise is like
// [Client.Lock]. Duplicate resources count once; there can be at most 64. The lease
// covers all locks: if one is lost, the lease is lost.
func (c *Client) LockAll(ctx context.Context, resources []string, opts ...Option) (*Lease, error) {
	return c.acquire(ctx, "lock all", resources, opts)
}

// request is one Lock, TryLock or LockAll call in progress.
type request struct {
	*connection
	settings
	keys      []string // sorted
	quoted    string   // the quoted resource, or resources
	multi     bool
	callerCtx context.Context // the parent of the lease's Context
	deadline  time.Time       // the end of the time to wait

	owner   string // of the last attempt if the server may have granted it, else empty
	lastErr error  // of the last attempt, or nil
}

func (c *Client) acquire(ctx context.Context, op string, resources []string, opts []Option) (*Lease, error) {
	what := fmt.Sprintf("%q", resources)
	if len(resources) == 1 {
		what = strconv.Quote(resources[0])
	}
	s := c.settings.apply(ctx, opts)
	keys, err := s.keys(resources)
	if err != nil {
		return nil, wrapOp(op, what, err)
	}
	r := &request{connection: c.connection, settings: s, keys: keys, quoted: what, multi: op == "lock all", callerCtx: ctx, deadline: time.Now().Add(s.wait)}
	l, err := r.run(ctx)
	return l, wrapOp(op, what, err)
}

// run acquires the locks, and releases what the server may have granted if that fails.
func (r *request) run(ctx context.Context) (*Lease, error) {
	if !r.beginRequest() {
		return nil, ErrClosed
	}
	defer r.requests.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	l, err := r.acquire(ctx)
	if err == nil {
		return l, nil
	}
	r.abandon(ctx)
	if r.closed() && r.callerCtx.Err() == nil {
		return nil, ErrClosed
	}
	return nil, err
}

// keys returns the distinct keys of the resources, sorted. It also checks what the server
// would report in other terms.
func (s settings) keys(resources []string) ([]string, error) {
	if s.ttl < time.Millisecond {
		return nil, fmt.Errorf("TTL must be at least 1ms, got %v", s.ttl)
	}
	if len(resources) == 0 {
		return nil, errors.New("at least one resource is required")
	}
	keys := make([]string, len(resources))
	for i, resource := range resources {
		key, err := s.key(resource)
		if err != nil {
			return nil, err
		}
		keys[i] = key
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// acquire retries attempts until one succeeds or fails for good.
func (r *request) acquire(ctx context.Context) (*Lease, error) {
	pause := backoff{next: 20 * time.Millisecond, max: 500 * time.Millisecond}
	var retry retryWindow
	for {
		l, err := r.attempt(ctx)
		if err == nil || r.wait == 0 || ctx.Err() != nil || !retry.allows(err) {
			return l, err
		}
		r.lastErr = err
		if !pause.sleep(ctx, r.deadline) {
			return nil, withCause(contextError(ctx), err)
		}
	}
}

// attempt sends one request, after it has undone the previous attempt. Each attempt has
// its own owner, so that the end of a broken attempt on the server cannot release the
// lock of the next one.
func (r *request) attempt(ctx context.Context) (*Lease, error) {
	if r.owner != "" {
		if err := r.undoLast(ctx); err != nil {
			return nil, r.undoFailed(ctx, err)
		}
	}
	r.owner = uuid.NewString()
	sent := time.Now()
	resp, err := r.send(ctx)
	if err != nil {
		err = r.explain(ctx, err)
		if isFinal(err) {
			r.owner = ""
		}
		return nil, err
	}
	if !resp.GetAcquired() {
		r.owner = ""
		return nil, r.notAcquired(ctx)
	}
	return r.lease(ctx, resp.GetToken(), sent)
}

// notAcquired returns why the server did not grant the lock.
func (r *request) notAcquired(ctx context.Context) error {
	if err := contextError(ctx); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && r.wait == forever && time.Until(deadline) < timerSlack {
		return context.DeadlineExceeded
	}
	return ErrLocked
}

// send sends the request, with the time to wait that is left.
func (r *request) send(ctx context.Context) (*lockspb.LockResponse, error) {
	ttl := durationpb.New(r.ttl)
	if r.wait == 0 && !r.multi {
		return r.locks.TryLock(ctx, &lockspb.TryLockRequest{
			Store: r.store, Key: r.keys[0], Owner: r.owner, Ttl: ttl, Metadata: r.metadata,
		})
	}
	ready := grpc.WaitForReady(r.wait > 0)
	var wait *durationpb.Duration
	if r.wait > 0 && r.wait < forever {
		left := max(time.Until(r.deadline), time.Millisecond)
		wait = durationpb.New(left)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, left+responseTimeout)
		defer cancel()
	}
	if r.multi {
		return r.locks.LockAll(ctx, &lockspb.LockAllRequest{
			Store: r.store, Keys: r.keys, Owner: r.owner, Ttl: ttl, Metadata: r.metadata,
			Wait: wait, Holding: r.declared(ctx), Try: r.wait == 0,
		}, ready)
	}
	return r.locks.Lock(ctx, &lockspb.LockRequest{
		Store: r.store, Key: r.keys[0], Owner: r.owner, Ttl: ttl, Metadata: r.metadata,
		Wait: wait, Holding: r.declared(ctx),
	}, ready)
}

// undoLast releases the locks that the last attempt may have been granted.
func (r *request) undoLast(ctx context.Context) error {
	bound, cancel := context.WithTimeout(ctx, min(undoTimeout, time.Until(r.deadline)+responseTimeout))
	defer cancel()
	for _, err := range r.unlock(bound, r.store, r.keys, r.owner, grpc.WaitForReady(true)) {
		if err := r.explain(ctx, err); err != nil && !isNotHeld(err) {
			return err
		}
	}
	r.owner = ""
	return nil
}

// undoFailed returns the error of an attempt that ended in undoLast with err. A transient
// failure to undo the last attempt is reported as the failure of that attempt, because
// the caller requested a lock and not its release.
func (r *request) undoFailed(ctx context.Context, err error) error {
	switch ended := contextError(ctx); {
	case ended != nil:
		return withCause(ended, r.lastErr)
	case errors.Is(err, ErrUnavailable):
		return r.lastErr
	}
	return err
}

// abandon releases the locks that the last attempt may have been granted, even if ctx has
// ended. It gives up after abandonTimeout.
func (r *request) abandon(ctx context.Context) {
	if r.owner == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	r.unlock(ctx, r.store, r.keys, r.owner)
}

// lease turns a grant into a lease, which expires one TTL after the request was sent. If
// a third of the TTL has passed, lease renews the lock first: the client does not know
// when the server granted it.
func (r *request) lease(ctx context.Context, token uint64, sent time.Time) (*Lease, error) {
	if time.Since(sent) >= r.ttl/3 {
		sent = time.Now()
		if err := r.confirm(ctx); err != nil {
			return nil, err
		}
	}
	l := newLease(r, token, sent)
	if !l.start() {
		return nil, ErrClosed
	}
	r.owner = ""
	return l, nil
}

// confirm renews the lock. If the lock has already expired, the error makes acquire
// retry.
func (r *request) confirm(ctx context.Context) error {
	bound, cancel := context.WithTimeout(ctx, r.ttl)
	defer cancel()
	for _, err := range r.renew(bound, r.store, r.keys, r.owner, r.ttl) {
		if err := r.explain(ctx, err); isNotHeld(err) {
			return fmt.Errorf("%w: the grant arrived after the TTL", ErrUnavailable)
		} else if err != nil {
			return err
		}
	}
	return nil
}

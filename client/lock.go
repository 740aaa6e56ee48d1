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
	// abandonTimeout bounds the Unlock after a request whose answer nobody waits for any
	// more.
	abandonTimeout = 500 * time.Millisecond
	// settleTimeout bounds one Unlock before a request is repeated.
	undoTimeout = 5 * time.Second
	// answerTimeout is how much later than Wait says the server's answer may arrive.
	responseTimeout = time.Second
)

// TryLock takes the lock if nobody holds it and nobody waits for it; else it fails with
// [ErrLocked]. It waits for nothing but an answer: if Mortise is away, it fails with
// [ErrUnavailable].
func (c *Client) TryLock(ctx context.Context, resource string, opts ...Option) (*Lease, error) {
	return c.acquire(ctx, "try lock", []string{resource}, append(slices.Clip(opts), Wait(0)))
}

// Lock takes the lock, and waits for it, first come first served, until it is granted,
// ctx ends, or the time of [Wait] has passed, which is ErrLocked. If Mortise restarts or
// its storage is away meanwhile, Lock goes on asking, at the end of the queue.
//
// If the lock is held by a lease that ctx carries (see [Lease.Context]), or by somebody
// who waits for such a lease, it fails with [ErrDeadlock].
//
// An error means that the lock was not taken. When ctx ends while the server may be
// granting it, Lock gives it back before it returns, which takes at most half a second;
// if the server does not answer even then, the TTL ends it.
func (c *Client) Lock(ctx context.Context, resource string, opts ...Option) (*Lease, error) {
	return c.acquire(ctx, "lock", []string{resource}, opts)
}

// LockAll takes the locks of all resources in one step, or none, and otherwise is like
// [Client.Lock]. A resource that is named twice counts once. There can be 64. The lease
// is for all of them: if one is lost, all are.
func (c *Client) LockAll(ctx context.Context, resources []string, opts ...Option) (*Lease, error) {
	return c.acquire(ctx, "lock all", resources, opts)
}

// request is a wish for locks, and what has become of it.
type request struct {
	*connection
	settings
	keys      []string // sorted
	quoted    string   // the quoted resource, or resources
	multi     bool
	callerCtx context.Context // the caller's, which the lease stems from
	deadline  time.Time       // when the time to wait is over

	owner   string // of the last attempt if that may have been granted unnoticed, else empty
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

// run asks until there is an answer that counts, and leaves nothing behind if there is
// none.
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

// keys returns the keys of the resources, sorted, each once. It checks what the server
// could only name by other words.
func (s settings) keys(resources []string) ([]string, error) {
	if s.ttl < time.Millisecond {
		return nil, fmt.Errorf("TTL is %v, the least is 1ms", s.ttl)
	}
	if len(resources) == 0 {
		return nil, errors.New("no resource is named")
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

// grant asks until there is an answer that counts.
func (r *request) acquire(ctx context.Context) (*Lease, error) {
	pause := backoff{next: 20 * time.Millisecond, max: 500 * time.Millisecond}
	var still retryWindow
	for {
		l, err := r.attempt(ctx)
		if err == nil || r.wait == 0 || ctx.Err() != nil || !still.allows(err) {
			return l, err
		}
		r.lastErr = err
		if !pause.sleep(ctx, r.deadline) {
			return nil, withCause(contextError(ctx), err)
		}
	}
}

// attempt asks once, after it has settled what the attempt before may have left behind.
// Each attempt has an owner of its own: what the server still does for a broken one
// cannot end the lock of the next.
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

// refused is why the server did not grant the lock.
func (r *request) notAcquired(ctx context.Context) error {
	if err := contextError(ctx); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && r.wait == forever && time.Until(deadline) < timerSlack {
		return context.DeadlineExceeded
	}
	return ErrLocked
}

// ask sends the request: to try, or to wait as long as is left.
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

// settle gives back what the last attempt may have been granted.
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

// unsettled returns the error of an attempt that ended in settle with err. Callers asked
// for a lock, so a transient failure to undo the last attempt is reported as the failure
// of that attempt.
func (r *request) undoFailed(ctx context.Context, err error) error {
	switch ended := contextError(ctx); {
	case ended != nil:
		return withCause(ended, r.lastErr)
	case errors.Is(err, ErrUnavailable):
		return r.lastErr
	}
	return err
}

// abandon gives back what the last attempt may have been granted, whether or not ctx has
// ended, if that can be done quickly.
func (r *request) abandon(ctx context.Context) {
	if r.owner == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	r.unlock(ctx, r.store, r.keys, r.owner)
}

// lease turns a grant into a lease. The lease ends a TTL after the request was sent. If
// much of that has gone by waiting, the lock is renewed first, for nobody knows when it
// was granted.
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

// confirm renews the lock. If it is gone already, there is nothing but to ask again.
func (r *request) confirm(ctx context.Context) error {
	bound, cancel := context.WithTimeout(ctx, r.ttl)
	defer cancel()
	for _, err := range r.renew(bound, r.store, r.keys, r.owner, r.ttl) {
		if err := r.explain(ctx, err); isNotHeld(err) {
			return fmt.Errorf("%w: the grant came too late", ErrUnavailable)
		} else if err != nil {
			return err
		}
	}
	return nil
}

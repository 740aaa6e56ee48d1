package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores"
)

var (
	_ stores.Store       = (*RemoteLocks)(nil)
	_ stores.Renewer     = (*RemoteLocks)(nil)
	_ stores.Waiter      = (*RemoteLocks)(nil)
	_ stores.MultiLocker = (*RemoteLocks)(nil)
	_ stores.Revoker     = (*RemoteLocks)(nil)
	_ stores.Lister      = (*RemoteLocks)(nil)
	_ stores.Watcher     = (*RemoteLocks)(nil)
)

// cancelTimeout bounds the clean-up after a canceled call.
const cancelTimeout = 5 * time.Second

// errorsByReason maps the reasons of the Locks protocol to the contract's errors.
var errorsByReason = map[string]error{
	"NOT_HELD":      stores.ErrNotHeld,
	"NOT_OWNER":     stores.ErrNotOwner,
	"DEADLOCK":      stores.ErrDeadlock,
	"UNSUPPORTED":   stores.ErrUnsupported,
	"SHUTTING_DOWN": stores.ErrClosed,
}

// RemoteLocks is a store behind a gRPC connection. It speaks the Locks protocol as
// Mortise's clients do, so that the suite runs through a server. The protocol supports
// all abilities except Ping and Declare, though it reports declared locks. Keys and
// owners must be valid UTF-8.
type RemoteLocks struct {
	conn  *grpc.ClientConn
	locks lockspb.LocksClient
	name  string

	mu        sync.Mutex     // guards the start of waits against Close
	waitCalls sync.WaitGroup // calls that may wait
	closing   context.Context
	close     context.CancelFunc
}

// NewRemoteLocks returns a client of the component called store. It owns the connection:
// Close closes it.
func NewRemoteLocks(conn *grpc.ClientConn, store string) *RemoteLocks {
	w := &RemoteLocks{conn: conn, locks: lockspb.NewLocksClient(conn), name: store}
	w.closing, w.close = context.WithCancel(context.Background())
	return w
}

// TryLock implements [stores.Store].
func (w *RemoteLocks) TryLock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	g, err := callLock(req.TTL, func() (*lockspb.LockResponse, error) {
		return w.locks.TryLock(ctx, &lockspb.TryLockRequest{
			Store: w.name, Key: req.Key, Owner: req.Owner, Ttl: durationpb.New(req.TTL), Metadata: req.Metadata,
		})
	})
	return g, w.wrap(ctx, "try lock", req.Key, err)
}

// Unlock implements [stores.Store].
func (w *RemoteLocks) Unlock(ctx context.Context, key, owner string) error {
	_, err := w.locks.Unlock(ctx, &lockspb.UnlockRequest{Store: w.name, Key: key, Owner: owner})
	return w.wrap(ctx, "unlock", key, err)
}

// Renew implements [stores.Renewer].
func (w *RemoteLocks) Renew(ctx context.Context, req stores.Request) (stores.Grant, error) {
	g, err := callLock(req.TTL, func() (*lockspb.LockResponse, error) {
		return w.locks.Renew(ctx, &lockspb.RenewRequest{
			Store: w.name, Key: req.Key, Owner: req.Owner, Ttl: durationpb.New(req.TTL),
		})
	})
	return g, w.wrap(ctx, "renew", req.Key, err)
}

// Lock implements [stores.Waiter].
func (w *RemoteLocks) Lock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	g, err := w.lockWaiting(ctx, []string{req.Key}, req.Owner, req.TTL, func(ctx context.Context) (*lockspb.LockResponse, error) {
		return w.locks.Lock(ctx, &lockspb.LockRequest{
			Store: w.name, Key: req.Key, Owner: req.Owner, Ttl: durationpb.New(req.TTL), Metadata: req.Metadata, Holding: req.Holding,
		})
	})
	return g, w.wrap(ctx, "lock", req.Key, err)
}

// LockAll implements [stores.MultiLocker].
func (w *RemoteLocks) LockAll(ctx context.Context, req stores.MultiRequest) (stores.Grant, error) {
	g, err := w.lockWaiting(ctx, req.Keys, req.Owner, req.TTL, func(ctx context.Context) (*lockspb.LockResponse, error) {
		return w.locks.LockAll(ctx, &lockspb.LockAllRequest{
			Store: w.name, Keys: req.Keys, Owner: req.Owner, Ttl: durationpb.New(req.TTL), Metadata: req.Metadata,
			Holding: req.Holding, Try: !req.Wait,
		})
	})
	return g, w.wrap(ctx, "lock all", req.Keys[0], err)
}

// Revoke implements [stores.Revoker].
func (w *RemoteLocks) Revoke(ctx context.Context, key, owner string) error {
	_, err := w.locks.Revoke(ctx, &lockspb.RevokeRequest{Store: w.name, Key: key, Owner: owner})
	return w.wrap(ctx, "revoke", key, err)
}

// List implements [stores.Lister].
func (w *RemoteLocks) List(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
	locks, err := w.list(ctx, &lockspb.ListRequest{Store: w.name, Prefix: prefix})
	return locks, w.wrap(ctx, "list", prefix, err)
}

// Get implements [stores.Getter].
func (w *RemoteLocks) Get(ctx context.Context, key string) (stores.LockInfo, error) {
	locks, err := w.list(ctx, &lockspb.ListRequest{Store: w.name, Prefix: key, Exact: true})
	if err != nil {
		return stores.LockInfo{}, w.wrap(ctx, "get", key, err)
	}
	if len(locks) != 1 {
		return stores.LockInfo{}, fmt.Errorf("remote: get %q: %w", key, stores.ErrNotHeld)
	}
	return locks[0], nil
}

func (w *RemoteLocks) list(ctx context.Context, req *lockspb.ListRequest) (locks []stores.LockInfo, err error) {
	stream, err := w.locks.List(ctx, req)
	if err == nil {
		err = receiveAll(stream, func(m *lockspb.ListResponse) error {
			locks = append(locks, locksFromProto(m.GetLocks())...)
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	return locks, nil
}

// Watch implements [stores.Watcher].
func (w *RemoteLocks) Watch(ctx context.Context, prefix string, notify func(stores.Event) error) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.locks.Watch(watching, &lockspb.WatchRequest{Store: w.name, Prefix: prefix})
	if err != nil {
		return w.wrap(ctx, "watch", prefix, err)
	}
	var locks []stores.LockInfo // of an incomplete snapshot
	var notifyErr error
	err = receiveAll(stream, func(m *lockspb.WatchResponse) error {
		locks = append(locks, locksFromProto(m.GetLocks())...)
		if m.GetMore() {
			return nil
		}
		notifyErr = notify(eventFromProto(m, locks))
		locks = nil
		return notifyErr
	})
	if notifyErr != nil {
		return notifyErr
	}
	return w.wrap(ctx, "watch", prefix, err)
}

// Close implements [stores.Store]. Calls in progress fail with ErrClosed. Waiting calls
// are canceled first, while the connection is open, so that a lock granted to one of them
// is released and not held until the end of its TTL.
func (w *RemoteLocks) Close() error {
	w.mu.Lock()
	first := w.closing.Err() == nil
	w.close()
	w.mu.Unlock()
	if !first {
		return nil
	}
	w.waitCalls.Wait()
	return w.conn.Close()
}

// callLock makes a call for a lock that lasts for ttl, and returns the grant. It counts
// the remaining time from before the call: the expiry is never too late, and too early by
// at most the duration of the call.
func callLock(ttl time.Duration, call func() (*lockspb.LockResponse, error)) (stores.Grant, error) {
	sent := time.Now()
	m, err := call()
	if err != nil || !m.GetAcquired() {
		return stores.Grant{}, err
	}
	expires := sent.Add(m.GetExpiresIn().AsDuration())
	return stores.Grant{Acquired: true, Token: m.GetToken(), TTL: ttl, Expires: expires}, nil
}

// lockWaiting makes a call that may wait. If ctx ends, the server may have granted the
// lock already; then it is released. After a long wait a renewal determines the expiry.
func (w *RemoteLocks) lockWaiting(
	ctx context.Context, keys []string, owner string, ttl time.Duration, call func(context.Context) (*lockspb.LockResponse, error),
) (stores.Grant, error) {
	ctx, leave := w.beginWait(ctx)
	defer leave()
	if ctx.Err() != nil {
		return stores.Grant{}, ctx.Err()
	}
	before := w.heldTokens(ctx, keys, owner)
	sent := time.Now()
	g, err := callLock(ttl, func() (*lockspb.LockResponse, error) { return call(ctx) })
	if g.Acquired && time.Since(sent) > ttl/10 {
		g.Expires = w.renewAll(ctx, keys, owner, ttl, g.Expires)
	}
	if ctx.Err() != nil {
		w.unlockNew(ctx, keys, owner, before)
		return stores.Grant{}, ctx.Err()
	}
	return g, err
}

// beginWait returns a ctx that also ends when the client is closed. Close waits for leave
// to be called.
func (w *RemoteLocks) beginWait(ctx context.Context) (entered context.Context, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	if w.closing.Err() != nil {
		cancel()
		return ctx, func() {}
	}
	w.waitCalls.Add(1)
	stop := context.AfterFunc(w.closing, cancel)
	return ctx, func() {
		stop()
		cancel()
		w.waitCalls.Done()
	}
}

// renewAll renews the locks and returns when the first of them expires, or known if a
// renewal fails.
func (w *RemoteLocks) renewAll(ctx context.Context, keys []string, owner string, ttl time.Duration, known time.Time) time.Time {
	var first time.Time
	for i, key := range keys {
		g, err := w.Renew(ctx, stores.Request{Key: key, Owner: owner, TTL: ttl})
		if err != nil {
			return known
		}
		if i == 0 {
			first = g.Expires
		}
	}
	return first
}

// unlockNew releases the locks that owner has acquired since before.
func (w *RemoteLocks) unlockNew(ctx context.Context, keys []string, owner string, before map[string]uint64) {
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer cancel()
	for key, token := range w.heldTokens(late, keys, owner) {
		if token != before[key] {
			_ = w.Unlock(late, key, owner) // a lock that cannot be released expires
		}
	}
}

// heldTokens returns the tokens of the keys that owner holds. It is needed because the
// rows use the same owner repeatedly; clients with a unique owner for each request simply
// unlock.
func (w *RemoteLocks) heldTokens(ctx context.Context, keys []string, owner string) map[string]uint64 {
	tokens := map[string]uint64{}
	for _, key := range keys {
		locks, _ := w.List(ctx, key) // on an error the lock counts as not held
		if len(locks) > 0 && locks[0].Key == key && locks[0].Owner == owner {
			tokens[key] = locks[0].Token
		}
	}
	return tokens
}

// wrap adds the operation and the key to an error, and restores the errors that gRPC
// reports for an ended ctx and a closed connection.
func (w *RemoteLocks) wrap(ctx context.Context, op, key string, err error) error {
	if err == nil {
		return nil
	}
	switch outcome := errorsByReason[errorReason(err)]; {
	case ctx.Err() != nil:
		err = ctx.Err()
	case w.closing.Err() != nil:
		err = stores.ErrClosed
	case outcome != nil:
		err = outcome
	case status.Code(err) == codes.DeadlineExceeded: // gRPC's timer may be early
		err = context.DeadlineExceeded
	case status.Code(err) == codes.InvalidArgument:
		err = fieldError(err)
	}
	return fmt.Errorf("remote: %s %q: %w", op, key, err)
}

// errorReason returns the reason in the details of a status, or "".
func errorReason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// receiveAll passes the messages of a stream to take until the stream ends or take fails.
// The end of the stream is not an error.
func receiveAll[M any](stream grpc.ServerStreamingClient[M], take func(*M) error) error {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = take(m)
		}
		if err != nil {
			return err
		}
	}
}

// locksFromProto converts the locks of a message.
func locksFromProto(rows []*lockspb.Lock) []stores.LockInfo {
	locks := make([]stores.LockInfo, len(rows))
	for i, row := range rows {
		locks[i] = stores.LockInfo{
			Key: row.GetKey(), Owner: row.GetOwner(), TTL: row.GetTtl().AsDuration(), Remaining: row.GetRemaining().AsDuration(),
			Token: row.GetToken(), Waiters: int(row.GetWaiters()), Metadata: row.GetMetadata(),
			DeclaredTTL: row.GetDeclared().AsDuration(),
		}
	}
	return locks
}

// eventFromProto converts a message to an event. A snapshot has the given locks,
// collected from all its messages.
func eventFromProto(m *lockspb.WatchResponse, locks []stores.LockInfo) stores.Event {
	e := stores.Event{Kind: stores.EventKind(m.GetKind()), Revision: m.GetRevision(), Missed: m.GetMissed()}
	if e.Kind == stores.EventSnapshot {
		e.Locks = locks
	} else if len(locks) == 1 {
		e.Lock = locks[0]
	}
	return e
}

package conformance

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	dapr "github.com/dapr/dapr/pkg/proto/components/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	"github.com/mortise-lock/mortise/stores"
)

var (
	_ stores.Store  = (*RemoteLockStore)(nil)
	_ stores.Pinger = (*RemoteLockStore)(nil)
)

// instanceHeader names the component that a call is for.
const instanceHeader = "x-component-instance"

// RemoteLockStore is a store behind a gRPC connection. It speaks Dapr's LockStore
// protocol as daprd does, so that the suite runs through a server. The protocol supports
// Ping and no other ability. Keys and owners must be valid UTF-8, and a TTL is rounded up
// to whole seconds.
type RemoteLockStore struct {
	conn     *grpc.ClientConn
	locks    components.LockStoreClient
	instance string
	closed   atomic.Bool
}

// NewRemoteLockStore returns a client of the component called instance, which must be
// initialized. It owns the connection: Close closes it.
func NewRemoteLockStore(conn *grpc.ClientConn, instance string) *RemoteLockStore {
	return &RemoteLockStore{conn: conn, locks: components.NewLockStoreClient(conn), instance: instance}
}

// TryLock implements [stores.Store].
func (w *RemoteLockStore) TryLock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	sent := time.Now()
	resp, err := w.locks.TryLock(w.outgoing(ctx), &components.TryLockRequest{
		ResourceId:      req.Key,
		LockOwner:       req.Owner,
		ExpiryInSeconds: wholeSeconds(req.TTL),
	})
	if err != nil {
		return stores.Grant{}, w.wrap(ctx, "try lock", req.Key, err)
	}
	if !resp.GetSuccess() {
		return stores.Grant{}, nil
	}
	g, err := grantFromMetadata(req.TTL, resp.GetMetadata(), sent)
	if err != nil {
		return stores.Grant{}, w.wrap(ctx, "try lock", req.Key, err)
	}
	return g, nil
}

// Unlock implements [stores.Store].
func (w *RemoteLockStore) Unlock(ctx context.Context, key, owner string) error {
	resp, err := w.locks.Unlock(w.outgoing(ctx), &components.UnlockRequest{ResourceId: key, LockOwner: owner})
	if err == nil {
		err = unlockError(resp.GetStatus())
	}
	if err != nil {
		return w.wrap(ctx, "unlock", key, err)
	}
	return nil
}

// Ping implements [stores.Pinger].
func (w *RemoteLockStore) Ping(ctx context.Context) error {
	if _, err := w.locks.Ping(w.outgoing(ctx), &dapr.PingRequest{}); err != nil {
		return w.wrap(ctx, "ping", "", err)
	}
	return nil
}

// Close implements [stores.Store]. Calls in progress fail with ErrClosed.
func (w *RemoteLockStore) Close() error {
	if w.closed.Swap(true) {
		return nil
	}
	return w.conn.Close()
}

func (w *RemoteLockStore) outgoing(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, instanceHeader, w.instance)
}

// wrap adds the operation and the key to an error, and restores the errors that gRPC
// reports for an ended ctx and a closed connection.
func (w *RemoteLockStore) wrap(ctx context.Context, op, key string, err error) error {
	switch code := status.Code(err); {
	case ctx.Err() != nil:
		err = ctx.Err()
	case w.closed.Load():
		err = stores.ErrClosed
	case code == codes.DeadlineExceeded: // gRPC's timer may run ahead of the ctx's
		err = context.DeadlineExceeded
	case code == codes.InvalidArgument:
		err = fieldError(err)
	}
	return fmt.Errorf("remote: %s %q: %w", op, key, err)
}

// fieldError returns the *stores.FieldError in the details of a status, or err if there
// is none.
func fieldError(err error) error {
	for _, detail := range status.Convert(err).Details() {
		bad, _ := detail.(*errdetails.BadRequest)
		for _, v := range bad.GetFieldViolations() {
			return &stores.FieldError{Field: v.GetField(), Problem: v.GetDescription()}
		}
	}
	return err
}

// wholeSeconds rounds up, so that the lease is never shorter than the request.
func wholeSeconds(ttl time.Duration) int32 {
	seconds := ttl / time.Second
	if ttl%time.Second > 0 {
		seconds++
	}
	return int32(seconds)
}

// grantFromMetadata reads the grant of a lock, which lasts for ttl, from the metadata of
// the response.
func grantFromMetadata(ttl time.Duration, md map[string]string, sent time.Time) (stores.Grant, error) {
	token, err := strconv.ParseUint(md["fencingToken"], 10, 64)
	if err != nil {
		return stores.Grant{}, errors.New("fencingToken in the response must be a number")
	}
	ms, err := strconv.ParseInt(md["expiresInMs"], 10, 64)
	if err != nil {
		return stores.Grant{}, errors.New("expiresInMs in the response must be a number")
	}
	return stores.Grant{Acquired: true, Token: token, TTL: ttl, Expires: sent.Add(time.Duration(ms) * time.Millisecond)}, nil
}

// unlockError maps the status of an Unlock to the contract's errors.
func unlockError(s components.UnlockResponse_Status) error {
	switch s {
	case components.UnlockResponse_SUCCESS:
		return nil
	case components.UnlockResponse_LOCK_DOES_NOT_EXIST:
		return stores.ErrNotHeld
	case components.UnlockResponse_LOCK_BELONGS_TO_OTHERS:
		return stores.ErrNotOwner
	default:
		return fmt.Errorf("the response has status %v", s)
	}
}

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"google.golang.org/grpc"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
)

// LockInfo is the state of a lock that is held or declared. A declared lock, such as
// RTM's, also exists while it is free; it then has no owner, no token and no remaining
// time.
type LockInfo struct {
	Key         string        // with namespace and tenant
	Owner       string        // of the holder, for Revoke; empty if the lock is free
	TTL         time.Duration // as requested; 0 if a foreign program acquired the lock
	Remaining   time.Duration // until the lock expires, unless it is renewed
	Token       uint64        // 0 if a foreign program acquired the lock
	Waiters     int           // the number of waiters
	Metadata    map[string]string
	DeclaredTTL time.Duration // the TTL of the declaration; 0 if the lock is not declared
}

// Held reports whether the lock is held. A lock that is not declared exists only while it
// is held.
func (l LockInfo) Held() bool { return l.Owner != "" || l.DeclaredTTL == 0 }

// Event is a change that Watch reports. Lock.DeclaredTTL is only set in EventDeclared and
// EventWithdrawn.
type Event struct {
	Kind     EventKind
	Revision uint64     // of the store; it decreases only if the store loses its data
	Lock     LockInfo   // after the change; before it if the lock ended
	Locks    []LockInfo // of a snapshot, sorted by key
	Missed   bool       // of a snapshot: changes before it may not have been reported
}

// EventKind is the kind of a change.
type EventKind int

// The kinds of changes.
const (
	EventSnapshot  EventKind = iota + 1 // no change: Locks replaces all earlier state
	EventAcquired                       // an owner acquired the lock
	EventReleased                       // the owner released the lock
	EventExpired                        // the TTL passed
	EventRevoked                        // the lock was revoked
	EventDeclared                       // the lock was declared, held or not
	EventWithdrawn                      // the lock no longer exists and is not held
)

// String returns the kind in capital letters.
func (k EventKind) String() string {
	if name, ok := lockspb.WatchResponse_Kind_name[int32(k)]; ok && k > 0 {
		return name
	}
	return fmt.Sprintf("EventKind(%d)", int(k))
}

// List returns the locks that are held or declared and whose key starts with prefix,
// sorted by key.
func (c *Client) List(ctx context.Context, prefix string) ([]LockInfo, error) {
	locks, err := c.list(ctx, &lockspb.ListRequest{Store: c.settings.store, Prefix: prefix})
	return locks, wrapOp("list", strconv.Quote(prefix), err)
}

// Get returns the lock of a key, which includes namespace and tenant as in List. It also
// returns a lock that another program acquired in the same storage, such as
// node-redlock's, which List omits. It fails with [ErrNotHeld] if the lock is neither
// held nor declared.
func (c *Client) Get(ctx context.Context, key string) (LockInfo, error) {
	locks, err := c.list(ctx, &lockspb.ListRequest{Store: c.settings.store, Prefix: key, Exact: true})
	if err == nil && (len(locks) == 0 || locks[0].Key != key) { // old servers ignore it
		err = ErrNotHeld
	}
	if err != nil {
		return LockInfo{}, wrapOp("get", strconv.Quote(key), err)
	}
	return locks[0], nil
}

func (c *Client) list(ctx context.Context, req *lockspb.ListRequest) (locks []LockInfo, err error) {
	stream, err := c.locks.List(ctx, req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return locks, nil
		}
		if err != nil {
			return nil, c.explain(ctx, err)
		}
		locks = append(locks, infosFromProto(resp.GetLocks())...)
	}
}

// Revoke takes the lock from the owner, or from any owner if owner is empty; the next
// waiter acquires it. The holder loses its lease at the next renewal; until then only
// fencing tokens exclude it. Revoke fails with [ErrNotHeld] if that owner does not hold
// the lock. The key includes namespace and tenant, as in List.
func (c *Client) Revoke(ctx context.Context, key, owner string) error {
	_, err := c.locks.Revoke(ctx, &lockspb.RevokeRequest{Store: c.settings.store, Key: key, Owner: owner})
	return wrapOp("revoke", strconv.Quote(key), c.explain(ctx, err))
}

// RevokeAll revokes the locks whose key starts with prefix and returns their number. It
// is for tests and for recovery. Declared locks stay declared.
func (c *Client) RevokeAll(ctx context.Context, prefix string) (int, error) {
	locks, err := c.List(ctx, prefix)
	revoked := 0
	for _, l := range locks {
		if !l.Held() {
			continue
		}
		switch err := c.Revoke(ctx, l.Key, l.Owner); {
		case err == nil:
			revoked++
		case !errors.Is(err, ErrNotHeld):
			return revoked, err
		}
	}
	return revoked, err
}

// Watch calls handle with an [EventSnapshot] of the locks that List returns for prefix,
// and then with each change in order, until ctx ends or handle returns an error; Watch
// returns that error unchanged. Renewals are not reported. When the connection breaks,
// Watch reconnects and continues with another snapshot, which has Missed set.
func (c *Client) Watch(ctx context.Context, prefix string, handle func(Event) error) error {
	w := &watch{connection: c.connection, handle: handle}
	req := &lockspb.WatchRequest{Store: c.settings.store, Prefix: prefix}
	pause := backoff{next: 20 * time.Millisecond, max: 500 * time.Millisecond}
	var retry retryWindow
	for {
		delivered := w.delivered
		err := w.follow(ctx, req)
		if w.handlerFailed {
			return err
		}
		if delivered != w.delivered {
			pause.next = 20 * time.Millisecond
		}
		if ctx.Err() == nil && retry.allows(err) && pause.sleep(ctx, time.Time{}) {
			continue
		}
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = withCause(contextError(ctx), err)
		}
		return wrapOp("watch", strconv.Quote(prefix), err)
	}
}

// watch is the state of a Watch across connections.
type watch struct {
	*connection
	handle        func(Event) error
	delivered     int  // number of events
	handlerFailed bool // handle returned an error
}

// follow passes the events of one stream to handle. It always returns an error.
func (w *watch) follow(ctx context.Context, req *lockspb.WatchRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	stream, err := w.locks.Watch(ctx, req, grpc.WaitForReady(true))
	if err != nil {
		return w.explain(ctx, err)
	}
	missed := w.delivered > 0
	var snapshot []LockInfo
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: the stream ended", ErrUnavailable)
		}
		if err != nil {
			return w.explain(ctx, err)
		}
		event := eventFromProto(resp)
		if event.Kind == EventSnapshot {
			snapshot = append(snapshot, event.Locks...)
			missed = missed || event.Missed
			event.Locks, event.Missed = snapshot, missed
			if resp.GetMore() {
				continue
			}
			snapshot, missed = nil, false
		}
		w.delivered++
		if err := w.handle(event); err != nil {
			w.handlerFailed = true
			return err
		}
	}
}

func eventFromProto(resp *lockspb.WatchResponse) Event {
	event := Event{Kind: EventKind(resp.GetKind()), Revision: resp.GetRevision(), Missed: resp.GetMissed()}
	locks := infosFromProto(resp.GetLocks())
	if event.Kind == EventSnapshot {
		event.Locks = locks
	} else if len(locks) > 0 {
		event.Lock = locks[0]
	}
	if event.Kind != EventDeclared && event.Kind != EventWithdrawn {
		event.Lock.DeclaredTTL = 0 // only some stores report it
	}
	return event
}

func infosFromProto(locks []*lockspb.Lock) []LockInfo {
	infos := make([]LockInfo, len(locks))
	for i, l := range locks {
		infos[i] = LockInfo{
			Key: l.GetKey(), Owner: l.GetOwner(), TTL: l.GetTtl().AsDuration(), Remaining: l.GetRemaining().AsDuration(),
			Token: l.GetToken(), Waiters: int(l.GetWaiters()), Metadata: l.GetMetadata(), DeclaredTTL: l.GetDeclared().AsDuration(),
		}
	}
	return infos
}

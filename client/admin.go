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

// LockInfo is a lock that is held or declared, as the store sees it. A declared lock, as
// RTM's are, exists while nobody holds it too; then it has no owner, no token and no
// time.
type LockInfo struct {
	Key         string        // with namespace and tenant
	Owner       string        // of the holder: a name for Revoke; empty if nobody holds it
	TTL         time.Duration // as asked for; 0 if a foreign program took the lock
	Remaining   time.Duration // until it expires, unless it is renewed
	Token       uint64        // 0 if a foreign program took the lock
	Waiters     int           // how many wait for it
	Metadata    map[string]string
	DeclaredTTL time.Duration // the TTL that it was declared with; 0 if it was not
}

// Held tells whether somebody holds the lock. One that nobody has declared would not be
// there otherwise.
func (l LockInfo) Held() bool { return l.Owner != "" || l.DeclaredTTL == 0 }

// Event is a change that Watch tells of. Of its Lock, what it was declared with is told
// by Declared and Withdrawn alone.
type Event struct {
	Kind     EventKind
	Revision uint64     // of the store's state; it never falls, unless the store lost its memory
	Lock     LockInfo   // which lock: as it has become, or for one that ended as it was before; not in a Snapshot
	Locks    []LockInfo // of a Snapshot, sorted by key
	Missed   bool       // of a Snapshot: there may have been changes before it that were not told
}

// EventKind says what happened.
type EventKind int

// What can happen to a lock.
const (
	EventSnapshot  EventKind = iota + 1 // nothing: what follows is a new beginning
	EventAcquired                       // an owner got the lock
	EventReleased                       // its owner gave it back
	EventExpired                        // its TTL passed
	EventRevoked                        // it was taken from its owner
	EventDeclared                       // it exists from now on, whether or not somebody holds it
	EventWithdrawn                      // it does not exist any more, and nobody holds it
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

// Get returns the lock of a key, which is as in a list, with namespace and tenant. It
// also returns a lock that another program took in the same storage, such as
// node-redlock's, which no list has. It fails with [ErrNotHeld] if the lock is neither
// held nor declared.
func (c *Client) Get(ctx context.Context, key string) (LockInfo, error) {
	locks, err := c.list(ctx, &lockspb.ListRequest{Store: c.settings.store, Prefix: key, Exact: true})
	if err == nil && (len(locks) == 0 || locks[0].Key != key) { // an older Mortise lists more, the shortest first
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

// Revoke takes the lock from the owner, or if owner is empty from whoever holds it, and
// the next who waits gets it. The holder learns of it with its next renewal; until then
// only a fencing token keeps it out. It fails with [ErrNotHeld] if that owner does not
// hold the lock. The key is as in a list, with namespace and tenant.
func (c *Client) Revoke(ctx context.Context, key, owner string) error {
	_, err := c.locks.Revoke(ctx, &lockspb.RevokeRequest{Store: c.settings.store, Key: key, Owner: owner})
	return wrapOp("revoke", strconv.Quote(key), c.explain(ctx, err))
}

// RevokeAll revokes the locks whose key starts with prefix and returns how many: a clean
// slate for tests, or after a disaster. Declared locks stay declared.
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

// Watch calls tell with a [Snapshot] of the locks that List would return for prefix, and
// then with each change in order, until ctx ends or tell returns an error; that error is
// returned as it is. Renewals are no changes. When the connection breaks, Watch makes a
// new one, and what it missed begins with another Snapshot that has Missed set.
func (c *Client) Watch(ctx context.Context, prefix string, tell func(Event) error) error {
	w := &watch{connection: c.connection, handle: tell}
	req := &lockspb.WatchRequest{Store: c.settings.store, Prefix: prefix}
	pause := backoff{next: 20 * time.Millisecond, max: 500 * time.Millisecond}
	var still retryWindow
	for {
		told := w.delivered
		err := w.follow(ctx, req)
		if w.handlerFailed {
			return err
		}
		if told != w.delivered {
			pause.next = 20 * time.Millisecond
		}
		if ctx.Err() == nil && still.allows(err) && pause.sleep(ctx, time.Time{}) {
			continue
		}
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = withCause(contextError(ctx), err)
		}
		return wrapOp("watch", strconv.Quote(prefix), err)
	}
}

// watch is what Watch remembers from one connection to the next.
type watch struct {
	*connection
	handle        func(Event) error
	delivered     int  // how many events
	handlerFailed bool // tell returned an error
}

// follow tells the events of one stream. It always returns an error.
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
		event.Lock.DeclaredTTL = 0 // some stores tell it, and others do not
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

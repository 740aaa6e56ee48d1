package client_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
)

// keeper is a Locks service on a table in memory, as plain as can be: it shows what the client does, and says nothing about
// Mortise's own stores. Its table outlives the gRPC servers that it is served by.
type keeper struct {
	lockspb.UnimplementedLocksServer

	mu      sync.Mutex
	held    map[string]*lockspb.Lock
	ends    map[string]time.Time
	queue   []*waiter
	token   uint64
	changed chan struct{} // closed and replaced with every change
	events  []*lockspb.WatchResponse
}

// waiter is somebody in the queue.
type waiter struct {
	keys    []string
	holding []string
}

func newKeeper() *keeper {
	return &keeper{held: map[string]*lockspb.Lock{}, ends: map[string]time.Time{}, changed: make(chan struct{})}
}

func (k *keeper) TryLock(ctx context.Context, r *lockspb.TryLockRequest) (*lockspb.LockResponse, error) {
	return k.take(ctx, &lockspb.LockAllRequest{Keys: []string{r.Key}, Owner: r.Owner, Ttl: r.Ttl, Metadata: r.Metadata, Try: true})
}

func (k *keeper) Lock(ctx context.Context, r *lockspb.LockRequest) (*lockspb.LockResponse, error) {
	return k.take(ctx, &lockspb.LockAllRequest{
		Keys: []string{r.Key}, Owner: r.Owner, Ttl: r.Ttl, Metadata: r.Metadata, Wait: r.Wait, Holding: r.Holding,
	})
}

func (k *keeper) LockAll(ctx context.Context, r *lockspb.LockAllRequest) (*lockspb.LockResponse, error) {
	return k.take(ctx, r)
}

// take waits in the queue until every key is free and nobody before wants one of them.
func (k *keeper) take(ctx context.Context, r *lockspb.LockAllRequest) (*lockspb.LockResponse, error) {
	w := &waiter{r.Keys, r.Holding}
	var over <-chan time.Time
	if r.Wait != nil {
		over = time.After(r.Wait.AsDuration())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.queue = append(k.queue, w)
	defer func() {
		k.queue = slices.DeleteFunc(k.queue, func(other *waiter) bool { return other == w })
		k.change()
	}()
	for {
		switch {
		case ctx.Err() != nil:
			return nil, status.FromContextError(ctx.Err()).Err()
		case k.next(w):
			return k.grant(r), nil
		case r.Try:
			return &lockspb.LockResponse{}, nil
		case k.deadlock(w):
			return nil, reason(codes.FailedPrecondition, "DEADLOCK")
		}
		changed := k.changed
		k.mu.Unlock()
		passed := false
		select {
		case <-changed:
		case <-ctx.Done():
		case <-over:
			passed = true
		}
		k.mu.Lock()
		if passed {
			return &lockspb.LockResponse{}, nil
		}
	}
}

func (k *keeper) next(w *waiter) bool {
	for _, key := range w.keys {
		if k.lock(key) != nil {
			return false
		}
		for _, other := range k.queue {
			if other == w {
				break
			}
			if slices.Contains(other.keys, key) {
				return false
			}
		}
	}
	return true
}

// deadlock follows the owners that stand in w's way: one that w holds closes the circle.
func (k *keeper) deadlock(w *waiter) bool {
	keys, seen := slices.Clone(w.keys), map[string]bool{}
	for len(keys) > 0 {
		key := keys[0]
		keys = keys[1:]
		l := k.lock(key)
		if l == nil || seen[key] {
			continue
		}
		seen[key] = true
		if slices.Contains(w.holding, l.Owner) {
			return true
		}
		for _, other := range k.queue {
			if slices.Contains(other.holding, l.Owner) {
				keys = append(keys, other.keys...)
			}
		}
	}
	return false
}

func (k *keeper) grant(r *lockspb.LockAllRequest) *lockspb.LockResponse {
	k.token++
	for _, key := range r.Keys {
		l := &lockspb.Lock{Key: key, Owner: r.Owner, Ttl: r.Ttl, Token: k.token, Metadata: r.Metadata}
		k.held[key] = l
		k.lasts(key, r.Ttl)
		k.tell(lockspb.WatchResponse_ACQUIRED, l)
	}
	return &lockspb.LockResponse{Acquired: true, Token: k.token, ExpiresIn: r.Ttl}
}

// lasts lets the key's lock expire after ttl, and wakes those who wait when it does.
func (k *keeper) lasts(key string, ttl *durationpb.Duration) {
	k.ends[key] = time.Now().Add(ttl.AsDuration())
	time.AfterFunc(ttl.AsDuration(), func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.lock(key)
		k.change()
	})
}

// lock returns the key's lock, or nil if nobody holds it.
func (k *keeper) lock(key string) *lockspb.Lock {
	l := k.held[key]
	if l != nil && !time.Now().Before(k.ends[key]) {
		delete(k.held, key)
		k.tell(lockspb.WatchResponse_EXPIRED, l)
		return nil
	}
	return l
}

// of returns the owner's lock.
func (k *keeper) of(key, owner string) (*lockspb.Lock, error) {
	switch l := k.lock(key); {
	case l == nil:
		return nil, reason(codes.FailedPrecondition, "NOT_HELD")
	case owner != "" && l.Owner != owner:
		return nil, reason(codes.FailedPrecondition, "NOT_OWNER")
	default:
		return l, nil
	}
}

func (k *keeper) Renew(_ context.Context, r *lockspb.RenewRequest) (*lockspb.LockResponse, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, err := k.of(r.Key, r.Owner)
	if err != nil {
		return nil, err
	}
	l.Ttl = r.Ttl
	k.lasts(r.Key, r.Ttl)
	return &lockspb.LockResponse{Acquired: true, Token: l.Token, ExpiresIn: r.Ttl}, nil
}

func (k *keeper) Unlock(_ context.Context, r *lockspb.UnlockRequest) (*lockspb.UnlockResponse, error) {
	return &lockspb.UnlockResponse{}, k.end(r.Key, r.Owner, lockspb.WatchResponse_RELEASED)
}

func (k *keeper) Revoke(_ context.Context, r *lockspb.RevokeRequest) (*lockspb.RevokeResponse, error) {
	return &lockspb.RevokeResponse{}, k.end(r.Key, r.Owner, lockspb.WatchResponse_REVOKED)
}

func (k *keeper) end(key, owner string, kind lockspb.WatchResponse_Kind) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, err := k.of(key, owner)
	if err == nil {
		delete(k.held, key)
		k.tell(kind, l)
	}
	return err
}

// forget loses every lock, as a store in memory does with its process.
func (k *keeper) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.held)
	k.change()
}

// holds tells the owner of the key, or nothing.
func (k *keeper) holds(key string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lock(key).GetOwner()
}

func (k *keeper) List(r *lockspb.ListRequest, stream lockspb.Locks_ListServer) error {
	for _, l := range k.snapshot(r.Prefix) {
		if err := stream.Send(&lockspb.ListResponse{Locks: []*lockspb.Lock{l}}); err != nil {
			return err
		}
	}
	return nil
}

func (k *keeper) snapshot(prefix string) []*lockspb.Lock {
	k.mu.Lock()
	defer k.mu.Unlock()
	var locks []*lockspb.Lock
	for _, key := range slices.Sorted(maps.Keys(k.held)) {
		l := k.lock(key)
		if l == nil || !strings.HasPrefix(key, prefix) {
			continue
		}
		told := &lockspb.Lock{Key: key, Owner: l.Owner, Ttl: l.Ttl, Token: l.Token, Metadata: l.Metadata}
		told.Remaining = durationpb.New(time.Until(k.ends[key]))
		for _, w := range k.queue {
			if slices.Contains(w.keys, key) {
				told.Waiters++
			}
		}
		locks = append(locks, told)
	}
	return locks
}

// Watch sends a snapshot in one message for each lock and an empty last one, and then what happens.
func (k *keeper) Watch(r *lockspb.WatchRequest, stream lockspb.Locks_WatchServer) error {
	k.mu.Lock()
	seen := len(k.events)
	k.mu.Unlock()
	for _, l := range k.snapshot(r.Prefix) {
		msg := &lockspb.WatchResponse{Kind: lockspb.WatchResponse_SNAPSHOT, Locks: []*lockspb.Lock{l}, More: true}
		if err := stream.Send(msg); err != nil {
			return err
		}
	}
	if err := stream.Send(&lockspb.WatchResponse{Kind: lockspb.WatchResponse_SNAPSHOT, Revision: uint64(seen)}); err != nil {
		return err
	}
	for {
		k.mu.Lock()
		events, changed := k.events[seen:], k.changed
		k.mu.Unlock()
		for _, e := range events {
			if seen++; !strings.HasPrefix(e.Locks[0].Key, r.Prefix) {
				continue
			}
			if err := stream.Send(e); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (k *keeper) tell(kind lockspb.WatchResponse_Kind, l *lockspb.Lock) {
	copied := &lockspb.Lock{Key: l.Key, Owner: l.Owner, Ttl: l.Ttl, Token: l.Token, Metadata: l.Metadata}
	k.events = append(k.events, &lockspb.WatchResponse{Kind: kind, Revision: uint64(len(k.events) + 1), Locks: []*lockspb.Lock{copied}})
	k.change()
}

func (k *keeper) change() {
	close(k.changed)
	k.changed = make(chan struct{})
}

// reason is an error with an ErrorInfo as Mortise sends it.
func reason(code codes.Code, reason string) error {
	s, err := status.New(code, "the server says "+reason).WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "mortise"})
	if err != nil {
		panic(err)
	}
	return s.Err()
}

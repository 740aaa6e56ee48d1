package stores

import (
	"context"
	"fmt"
	"time"
)

// A Renewer can extend a lock.
type Renewer interface {
	// Renew sets the remaining time of the lock to req.TTL, whether that is longer or
	// shorter than before. Only the holder can renew: Renew fails with ErrNotHeld and
	// ErrNotOwner as Unlock does, and does not acquire a lock that has ended. The grant
	// has the token of the lock. The lock keeps its metadata.
	Renew(ctx context.Context, req Request) (Grant, error)
}

// A Waiter can wait for a lock.
//
// The waiters for a key form one queue over all clients of the storage, in the order of
// their arrival. No request overtakes them: while there are waiters, TryLock is refused
// even if the lock is free. The store notifies the next waiter when the lock is released,
// is revoked or expires; if the notification is lost, the waiter finds the free lock by
// polling within a second. A waiter whose process has died delays the others by no more
// than a second. If the storage is another process, a lock may be granted to a waiter and
// revoked before the waiter learns of the grant; the waiter then keeps waiting.
type Waiter interface {
	// Lock acquires the lock, and waits for it until ctx ends. A Grant without an error
	// always has Acquired set. If ctx ends first, the error wraps ctx.Err, and the owner
	// neither holds the lock nor is in a queue: either the store decides between the
	// grant and the end of ctx in one step, or Lock releases a late grant before it
	// returns. If the storage does not answer then, the late grant ends within a second.
	//
	// Lock fails with ErrDeadlock if the lock is held by an owner in req.Holding, or by
	// an owner that waits for such a lock, directly or through others, as far as the
	// storage can detect it. It fails with ErrClosed if the store is closed meanwhile.
	// The current owner waits like any other, unless it is in its own Holding.
	Lock(ctx context.Context, req Request) (Grant, error)
}

// A MultiLocker can acquire several locks in one step.
type MultiLocker interface {
	// LockAll acquires the locks of all keys for one owner or none of them, and at no
	// time only some. If req.Wait is set, it waits as Lock does, in the queue of every
	// key; otherwise it returns at once, as TryLock does. The grant applies to each of
	// the locks, with one token for all. Afterwards each lock is renewed and released
	// separately.
	LockAll(ctx context.Context, req MultiRequest) (Grant, error)
}

// A Revoker can take a lock from its holder.
type Revoker interface {
	// Revoke ends the lock of the owner, or of any owner if owner is empty. The next
	// waiter acquires it with a larger token. Revoke fails with ErrNotHeld and
	// ErrNotOwner as Unlock does.
	Revoke(ctx context.Context, key, owner string) error
}

// A Lister can list the locks.
type Lister interface {
	// List returns the locks whose key starts with prefix and that are held or declared,
	// sorted by key. A lock that changes hands during the call may be listed as before or
	// after the change. A lock that is held or declared throughout the call is always
	// listed.
	List(ctx context.Context, prefix string) ([]LockInfo, error)
}

// A Getter can look up one lock without a list. For other stores, the helper [Get] lists.
type Getter interface {
	// Get returns the lock of a key as List does. It also returns a lock that another
	// program acquired and that List omits. It fails with ErrNotHeld if the lock is
	// neither held nor declared, and with ErrNotLock if the key holds other data.
	Get(ctx context.Context, key string) (LockInfo, error)
}

// LockInfo describes a lock that was held or declared when the store was read. A free
// lock has only a Key, a DeclaredTTL, and perhaps Waiters.
type LockInfo struct {
	Key   string
	Owner string

	// TTL is the TTL of the grant or of the last renewal. It is zero if another program
	// acquired the lock.
	TTL         time.Duration
	Remaining   time.Duration // until it expires on the store's clock; positive
	Token       uint64        // as in Grant
	Waiters     int           // the number of waiters
	Metadata    map[string]string
	DeclaredTTL time.Duration // of the declaration; zero if it is not declared
}

// A Watcher can report which locks change hands.
type Watcher interface {
	// Watch calls handle with a snapshot of the locks that List would return for prefix,
	// and then with every change in the order of the changes, until ctx ends or handle
	// fails. It returns handle's error unchanged. The events, applied to the snapshot,
	// give the state: which owner holds which lock with which token, and which locks are
	// declared. There are no events for renewals and waiters.
	//
	// handle is called by one goroutine at a time. If it is slow, a few thousand events
	// are buffered. If the buffer overflows, or messages of the storage were lost, Watch
	// continues with a new snapshot that has Missed set; it never omits an event
	// silently.
	Watch(ctx context.Context, prefix string, handle func(Event) error) error
}

// Event is a change that a watcher is notified of.
type Event struct {
	Kind EventKind

	// Revision numbers the states of the storage. It never decreases from one event to
	// the next.
	Revision uint64

	// Lock is the lock after the change, or before it if the change ended the lock. A
	// snapshot has none. Remaining and Waiters have no meaning, and DeclaredTTL has one
	// only in EventDeclared and EventWithdrawn.
	Lock   LockInfo
	Locks  []LockInfo // only in a snapshot; sorted by key
	Missed bool       // only in a snapshot: changes before it were not reported
}

// EventKind is the kind of a change.
type EventKind int

// The kinds of events.
const (
	EventSnapshot  EventKind = iota + 1 // the current locks, instead of earlier events
	EventAcquired                       // an owner acquired the lock
	EventReleased                       // the holder released the lock
	EventExpired                        // the lock's TTL passed
	EventRevoked                        // the lock was taken from its holder
	EventDeclared                       // the lock was declared, held or free
	EventWithdrawn                      // the lock was withdrawn, and is free
)

// String returns the kind in capital letters.
func (k EventKind) String() string {
	names := []string{"SNAPSHOT", "ACQUIRED", "RELEASED", "EXPIRED", "REVOKED", "DECLARED", "WITHDRAWN"}
	if k < 1 || int(k) > len(names) {
		return fmt.Sprintf("EventKind(%d)", int(k))
	}
	return names[k-1]
}

// A Pinger can report whether the storage grants locks.
type Pinger interface {
	// Ping acquires and releases a lock that no other client uses, or checks the same in
	// another way. It returns nil if the storage grants locks, and otherwise the reason
	// why not; the storage may still answer other calls. Ping is cheap enough to be
	// called every few seconds.
	Ping(ctx context.Context) error
}

// Renew calls s's Renew. It fails with ErrUnsupported if s is not a [Renewer].
func Renew(ctx context.Context, s Store, req Request) (Grant, error) {
	if r, ok := ability[Renewer](s); ok {
		return r.Renew(ctx, req)
	}
	return Grant{}, unsupported(s, "renew")
}

// TryLock calls s's TryLock. It fails with ErrUnsupported if the request has a Group and
// s is not a [Declarer], which would ignore the Group and grant a lock that does not
// exist.
//
// If ctx has ended by the time the lock is granted, TryLock releases it and fails with
// ctx.Err, because the caller has gone and cannot release it. The same is true of [Lock]
// and [LockAll]. Where ctx may end before the caller has gone, see [WithCaller].
func TryLock(ctx context.Context, s Store, req Request) (Grant, error) {
	grant, err := tryLock(ctx, s, req)
	return undoIfCanceled(ctx, s, grant, err, req.Owner, req.Key)
}

func tryLock(ctx context.Context, s Store, req Request) (Grant, error) {
	if _, ok := ability[Declarer](s); !ok && req.Group != "" {
		return Grant{}, unsupported(s, "declare")
	}
	return s.TryLock(ctx, req)
}

// Lock calls s's Lock. It fails with ErrUnsupported if s is not a [Waiter], or the
// request has a Group and s is not a [Declarer].
func Lock(ctx context.Context, s Store, req Request) (Grant, error) {
	grant, err := lock(ctx, s, req)
	return undoIfCanceled(ctx, s, grant, err, req.Owner, req.Key)
}

func lock(ctx context.Context, s Store, req Request) (Grant, error) {
	w, ok := ability[Waiter](s)
	if !ok {
		return Grant{}, unsupported(s, "wait")
	}
	if _, ok := ability[Declarer](s); !ok && req.Group != "" {
		return Grant{}, unsupported(s, "declare")
	}
	return w.Lock(ctx, req)
}

// LockAll calls s's LockAll. It fails with ErrUnsupported if s is not a [MultiLocker], or
// if req.Wait is set and s is not a [Waiter].
func LockAll(ctx context.Context, s Store, req MultiRequest) (Grant, error) {
	grant, err := lockAll(ctx, s, req)
	return undoIfCanceled(ctx, s, grant, err, req.Owner, req.Keys...)
}

func lockAll(ctx context.Context, s Store, req MultiRequest) (Grant, error) {
	m, ok := ability[MultiLocker](s)
	if !ok {
		return Grant{}, unsupported(s, "lock all")
	}
	if _, ok := ability[Waiter](s); !ok && req.Wait {
		return Grant{}, unsupported(s, "wait")
	}
	return m.LockAll(ctx, req)
}

// Unlock calls s's Unlock.
func Unlock(ctx context.Context, s Store, key, owner string) error {
	return s.Unlock(ctx, key, owner)
}

// Revoke calls s's Revoke. It fails with ErrUnsupported if s is not a [Revoker].
func Revoke(ctx context.Context, s Store, key, owner string) error {
	if r, ok := ability[Revoker](s); ok {
		return r.Revoke(ctx, key, owner)
	}
	return unsupported(s, "revoke")
}

// List calls s's List. It fails with ErrUnsupported if s is not a [Lister].
func List(ctx context.Context, s Store, prefix string) ([]LockInfo, error) {
	if l, ok := ability[Lister](s); ok {
		return l.List(ctx, prefix)
	}
	return nil, unsupported(s, "list")
}

// Get calls s's Get, or looks up the key with List. It fails with ErrUnsupported if s is
// neither a [Getter] nor a [Lister].
func Get(ctx context.Context, s Store, key string) (LockInfo, error) {
	if g, ok := ability[Getter](s); ok {
		return g.Get(ctx, key)
	}
	locks, err := List(ctx, s, key)
	if err != nil {
		return LockInfo{}, err
	}
	if len(locks) == 0 || locks[0].Key != key { // key itself sorts first
		return LockInfo{}, fmt.Errorf("%s: get %q: %w", NameOf(s), key, ErrNotHeld)
	}
	return locks[0], nil
}

// Watch calls s's Watch. It fails with ErrUnsupported if s is not a [Watcher].
func Watch(ctx context.Context, s Store, prefix string, handle func(Event) error) error {
	if w, ok := ability[Watcher](s); ok {
		return w.Watch(ctx, prefix, handle)
	}
	return unsupported(s, "watch")
}

// Ping calls s's Ping. It fails with ErrUnsupported if s is not a [Pinger].
func Ping(ctx context.Context, s Store) error {
	if p, ok := ability[Pinger](s); ok {
		return p.Ping(ctx)
	}
	return unsupported(s, "ping")
}

// Features returns the names of the abilities of s, sorted. FENCING, a token in every
// grant, is part of the contract, and so it is always included.
func Features(s Store) []string {
	var features []string
	add := func(name string, able bool) {
		if able {
			features = append(features, name)
		}
	}
	add("DECLARE", is[Declarer](s))
	add("FENCING", true)
	add("LIST", is[Lister](s))
	add("MULTI", is[MultiLocker](s))
	add("PING", is[Pinger](s))
	add("RENEW", is[Renewer](s))
	add("REVOKE", is[Revoker](s))
	add("WAIT", is[Waiter](s))
	add("WATCH", is[Watcher](s))
	return features
}

func is[Ability any](s Store) bool {
	_, ok := Unwrap(s).(Ability)
	return ok
}

func unsupported(s Store, what string) error {
	return fmt.Errorf("%s: %s: %w", NameOf(s), what, ErrUnsupported)
}

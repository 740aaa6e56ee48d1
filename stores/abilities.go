package stores

import (
	"context"
	"fmt"
	"time"
)

// A Renewer can make a lock last longer.
type Renewer interface {
	// Renew lets the lock last for req.TTL from now, whether that is longer or shorter
	// than what is left. Only its holder can: ErrNotHeld and ErrNotOwner are as in
	// Unlock, and a lock that is gone is not taken again. The grant carries the token
	// that the lock has; its metadata stays.
	Renew(ctx context.Context, req Request) (Grant, error)
}

// A Waiter can wait for a lock.
//
// Those who wait for a key are served first come, first served, over all clients that
// share the storage, and nobody overtakes them: while somebody waits, TryLock is refused
// even in the moment when the lock is free. They are woken by a push when the lock is
// given back or revoked, or when it expires; should the push be lost, a re-check in at
// most a second finds out. Somebody who waits and dies costs the others no more than a
// second either. Where the storage is another process, a lock may be handed to one who
// waits, and end by Revoke, before he knows of it; he then goes on waiting.
type Waiter interface {
	// Lock takes the lock, and waits for it as long as ctx lasts. A Grant without an
	// error is always an acquired one. If ctx ends first the error wraps ctx.Err, and the
	// owner does not hold the lock and is in no queue: a grant and the end of ctx are
	// decided in one step, or a grant that came too late has been given back when Lock
	// returns. If the storage cannot be asked to, the lease that it may have given ends
	// within a second.
	//
	// It fails with ErrDeadlock if the lock is held by an owner in req.Holding, or by one
	// that waits for such a lock, directly or through others, as far as the storage can
	// see; with ErrClosed if the store is closed meanwhile. The present owner waits like
	// anybody else, unless it is in its own Holding.
	Lock(ctx context.Context, req Request) (Grant, error)
}

// A MultiLocker can take several locks in one step.
type MultiLocker interface {
	// LockAll takes the locks of all keys for one owner, or none of them, and at no
	// moment a part. With req.Wait it waits as Lock does, in the queue of every key, and
	// without it answers like TryLock. The grant is for each of the locks, with one token
	// for all; afterwards each is a lock like any other, to be renewed and given back by
	// itself.
	LockAll(ctx context.Context, req MultiRequest) (Grant, error)
}

// A Revoker can take a lock from its holder.
type Revoker interface {
	// Revoke ends the lock of the owner, or if owner is empty of whoever holds it; the
	// next who waits gets it, with a larger token. ErrNotHeld and ErrNotOwner are as in
	// Unlock.
	Revoke(ctx context.Context, key, owner string) error
}

// A Lister can tell which locks there are.
type Lister interface {
	// List returns the locks whose key starts with prefix that are held or declared,
	// sorted by key. Locks that change hands during the call may be told as before or
	// after; a lock held or declared throughout is always told.
	List(ctx context.Context, prefix string) ([]LockInfo, error)
}

// A Getter can look up one lock without a list. For other stores, the helper [Get] lists.
type Getter interface {
	// Get returns the lock of a key as List does, and also one that another program took
	// and that no list has. It fails with ErrNotHeld if the lock is neither held nor
	// declared, and with ErrNotLock if the key holds other data.
	Get(ctx context.Context, key string) (LockInfo, error)
}

// LockInfo describes a lock that was held or declared when the store was read. A free
// lock has only a Key, the TTL that it was declared with, and perhaps Waiters.
type LockInfo struct {
	Key         string
	Owner       string
	TTL         time.Duration // as asked for at the grant or the last renewal; zero if a foreign program took the lock
	Remaining   time.Duration // until it expires on the store's clock; positive
	Token       uint64        // as in Grant
	Waiters     int           // how many wait for it
	Metadata    map[string]string
	DeclaredTTL time.Duration // the TTL that it was declared with; zero if it was not
}

// A Declarer can keep a lock while nobody holds it.
//
// A declared lock exists, held or not, until it is withdrawn. It is one of a group, whose
// locks can be counted and listed without a look at others. Requests that name the group
// are for locks that exist (see [Request]); for others it is a lock like any other.
// Callers see to it that a key is declared in one group only.
type Declarer interface {
	// Declare lets the lock exist. It fails with ErrDeclared if the group has it, and
	// changes nothing then; else with ErrLimit if the group has as many locks as the
	// limit says.
	Declare(ctx context.Context, d Declaration) error

	// Withdraw ends the lock's existence, and if somebody holds it that too, in one step;
	// requests with the group that wait for it fail with ErrNotDeclared, although it may
	// be declared again at once. It fails with ErrNotDeclared if the group has no such
	// lock.
	Withdraw(ctx context.Context, group, key string) error

	// Group returns the locks of a group, held or not, as of one moment, sorted by key. A
	// group without locks is no error.
	Group(ctx context.Context, group string) ([]LockInfo, error)
}

// Declaration describes a lock that shall exist.
type Declaration struct {
	Group string        // which the key begins with; 1 to MaxKeyLen bytes
	Key   string        // as in Request
	TTL   time.Duration // how long it lasts for whoever takes it as one of the group; MinTTL to MaxTTL
	Limit int           // how many locks the group may have with this one; zero or less is no limit
}

// A Watcher can tell which locks change hands.
type Watcher interface {
	// Watch calls tell first with a Snapshot of the locks that List would return for
	// prefix, and then with every change in the order in which they happened, until ctx
	// ends or tell returns an error; that error is returned as it is. Applied to the
	// snapshot, the events give the state: who holds what, with which token, and what is
	// declared. Renewals and waiters are no events.
	//
	// tell is called by one goroutine at a time. If it is slow, some thousand events are
	// kept for it. If it falls further behind, or messages of the storage were lost, it
	// is told by a Snapshot that has Missed set, and never by a gap.
	Watch(ctx context.Context, prefix string, tell func(Event) error) error
}

// Event is a change that a watcher is told of.
type Event struct {
	Kind EventKind

	// Revision numbers the states of the storage. It never falls from one event to the
	// next.
	Revision uint64

	// Lock tells which lock, except in a Snapshot: as it has become, or for one that
	// ended as it was before. Remaining and Waiters are of no meaning, nor is Declared in
	// other events than Declared and Withdrawn.
	Lock   LockInfo
	Locks  []LockInfo // of a Snapshot, sorted by key
	Missed bool       // of a Snapshot: there were changes before it that were not told
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
	names := []string{"SNAPSHOT", "ACQUIRED", "RELEASED", "EXPIRED", "REVOKED", "DECLARED", "WITHDRAWN"}
	if k < 1 || int(k) > len(names) {
		return fmt.Sprintf("EventKind(%d)", int(k))
	}
	return names[k-1]
}

// A Pinger can report whether a lock could be taken now.
type Pinger interface {
	// Ping takes a lock that no other client sees and releases it, or does what amounts
	// to that in the storage. It returns nil if that succeeds, and otherwise the
	// storage's reason for not granting locks, which may be one that lets it answer other
	// calls. It is cheap enough to be called every few seconds.
	Ping(ctx context.Context) error
}

// Renew calls s's Renew. It fails with ErrUnsupported if s is no [Renewer].
func Renew(ctx context.Context, s Store, req Request) (Grant, error) {
	if r, ok := ability[Renewer](s); ok {
		return r.Renew(ctx, req)
	}
	return Grant{}, unsupported(s, "renew")
}

// TryLock calls s's TryLock. It fails with ErrUnsupported if the request has a Group and
// s is no [Declarer], which would ignore the Group and grant a lock that does not exist.
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

// Lock calls s's Lock. It fails with ErrUnsupported if s is no [Waiter], or the request
// has a Group and s is no [Declarer].
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

// LockAll calls s's LockAll. It fails with ErrUnsupported if s is no [MultiLocker], or if
// req.Wait is set and s is no [Waiter].
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

// Revoke calls s's Revoke. It fails with ErrUnsupported if s is no [Revoker].
func Revoke(ctx context.Context, s Store, key, owner string) error {
	if r, ok := ability[Revoker](s); ok {
		return r.Revoke(ctx, key, owner)
	}
	return unsupported(s, "revoke")
}

// List calls s's List. It fails with ErrUnsupported if s is no [Lister].
func List(ctx context.Context, s Store, prefix string) ([]LockInfo, error) {
	if l, ok := ability[Lister](s); ok {
		return l.List(ctx, prefix)
	}
	return nil, unsupported(s, "list")
}

// Get calls s's Get, or finds the key in a list. It fails with ErrUnsupported if s is
// neither a [Getter] nor a [Lister].
func Get(ctx context.Context, s Store, key string) (LockInfo, error) {
	if g, ok := ability[Getter](s); ok {
		return g.Get(ctx, key)
	}
	locks, err := List(ctx, s, key)
	if err != nil {
		return LockInfo{}, err
	}
	if len(locks) == 0 || locks[0].Key != key { // sorted, the shortest comes first
		return LockInfo{}, fmt.Errorf("%s: get %q: %w", NameOf(s), key, ErrNotHeld)
	}
	return locks[0], nil
}

// Watch calls s's Watch. It fails with ErrUnsupported if s is no [Watcher].
func Watch(ctx context.Context, s Store, prefix string, tell func(Event) error) error {
	if w, ok := ability[Watcher](s); ok {
		return w.Watch(ctx, prefix, tell)
	}
	return unsupported(s, "watch")
}

// Declare calls s's Declare. It fails with ErrUnsupported if s is no [Declarer].
func Declare(ctx context.Context, s Store, d Declaration) error {
	if dc, ok := ability[Declarer](s); ok {
		return dc.Declare(ctx, d)
	}
	return unsupported(s, "declare")
}

// Withdraw calls s's Withdraw. It fails with ErrUnsupported if s is no [Declarer].
func Withdraw(ctx context.Context, s Store, group, key string) error {
	if d, ok := ability[Declarer](s); ok {
		return d.Withdraw(ctx, group, key)
	}
	return unsupported(s, "declare")
}

// Group calls s's Group. It fails with ErrUnsupported if s is no [Declarer].
func Group(ctx context.Context, s Store, group string) ([]LockInfo, error) {
	if d, ok := ability[Declarer](s); ok {
		return d.Group(ctx, group)
	}
	return nil, unsupported(s, "declare")
}

// Ping calls s's Ping. It fails with ErrUnsupported if s is no [Pinger].
func Ping(ctx context.Context, s Store) error {
	if p, ok := ability[Pinger](s); ok {
		return p.Ping(ctx)
	}
	return unsupported(s, "ping")
}

// Features names what s can do beyond [Store], sorted. FENCING, tokens on every grant, is
// part of the contract and so always among them.
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

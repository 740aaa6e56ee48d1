package memory

import (
	"maps"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/mortise-lock/mortise/stores"
)

// The most expired locks that one step removes.
const (
	// reclaimPerGrant is two for the one lock that a grant adds. So the table shrinks to
	// the held locks while clients take locks and let them expire, and no single call
	// removes a whole backlog.
	reclaimPerGrant = 2
	reclaimPerSweep = 1000 // keeps the mutex locked for a millisecond or two
)

// table holds the locks of one component. It implements the contract on ordered maps.
//
// A token is the larger of the last token plus one and the wall clock in microseconds
// since 1970. So tokens grow within the process whatever the clock does, and across a
// restart because the clock has advanced; nothing is stored on disk. They stay below
// 2^53, up to which JSON numbers are exact, until the year 2255.
//
// An expired lock stays in the table until a grant removes it. Only while there are
// waiters or watchers, the alarm removes locks at the moment when they expire.
type table struct {
	epoch time.Time // expiry times are relative to it, on the monotonic clock

	mu        sync.Mutex // guards the fields below; it is unlocked while a call waits
	byKey     *btree.BTreeG[*lock]
	byExpiry  *btree.BTreeG[*lock] // the same locks, the next to expire first
	hint      btree.PathHint       // where the last lookup in byKey ended
	lookupKey lock                 // argument of lookups, which so do not allocate
	token     uint64               // the last one granted
	declared  declarations
	waitQueue waitQueue
	watchers  watcherSet
	alarm     *time.Timer // calls sweep; nil until it is first set

	// alarmFor is when the alarm fires, since the epoch; 0 if it is not set. It may be
	// earlier than the next expiry, but not later.
	alarmFor time.Duration
}

// lock is a lock that was granted and not released. It may have expired. It is small
// because there may be millions. It must not change after mu is unlocked, because a
// [view] may share it.
type lock struct {
	key, owner string
	token      uint64
	ttl        time.Duration
	expires    time.Duration // since the table's epoch
	metadata   map[string]string
}

func newTable() *table {
	unlocked := btree.Options{NoLocks: true} // mu guards the trees
	now := time.Now()
	return &table{
		epoch: now,
		byKey: btree.NewBTreeGOptions(func(a, b *lock) bool { return a.key < b.key }, unlocked),
		byExpiry: btree.NewBTreeGOptions(func(a, b *lock) bool {
			switch {
			case a.expires != b.expires:
				return a.expires < b.expires
			case a.token != b.token:
				return a.token < b.token
			}
			return a.key < b.key // granted in one step, with one token
		}, unlocked),
		declared:  newDeclarations(),
		waitQueue: newWaitQueue(),
		watchers:  newWatcherSet(now),
	}
}

// take grants the locks if all are free and have no waiters, and if now is not before
// from. If the request has a group, take fails as resolveDeclared does.
func (t *table) take(req *request, from time.Time) (stores.Grant, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.try(req, from, time.Now())
}

func (t *table) try(req *request, from, now time.Time) (stores.Grant, error) {
	t.reclaim(reclaimPerGrant, now)
	if req.group != "" {
		if err := t.resolveDeclared(req, now); err != nil {
			return stores.Grant{}, err
		}
	}
	if now.Before(from) || t.waitQueue.hasWaiters(req.Keys) || !t.free(req.Keys, now) {
		return stores.Grant{}, nil
	}
	return t.grant(req, now), nil
}

// unlock releases the owner's lock, or cancels its wait for a lock of a group. An owner
// never holds a lock of a group and waits for it too: resolveDeclared refuses the second
// request, and a lock that has waiters is granted only to the first of them.
func (t *table) unlock(key, owner string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	l, err := t.heldBy(key, owner, now)
	switch {
	case err == nil:
		t.end(l, stores.EventReleased, now)
	case !t.cancelWait(key, owner, now):
		return err
	}
	return nil
}

// revoke ends the owner's lock, or any owner's lock if owner is empty.
func (t *table) revoke(key, owner string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	l, err := t.heldBy(key, owner, now)
	if owner == "" {
		l, err = t.heldByAny(key, now)
	}
	if err == nil {
		t.end(l, stores.EventRevoked, now)
	}
	return err
}

// renew sets the remaining time of the owner's lock to req.TTL.
func (t *table) renew(req stores.Request) (stores.Grant, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	l, err := t.heldBy(req.Key, req.Owner, now)
	if err != nil {
		return stores.Grant{}, err
	}
	renewed := *l
	t.byExpiry.Delete(l)
	t.byKey.SetHint(&renewed, &t.hint)
	t.start(&renewed, req.TTL, now)
	return stores.Grant{Acquired: true, Token: l.token, TTL: req.TTL, Expires: now.Add(req.TTL)}, nil
}

// describe returns l, which may be free, as List does.
func (t *table) describe(l *lock, now time.Time) stores.LockInfo {
	row := t.describeEvent(l)
	row.Remaining = l.remaining(now.Sub(t.epoch))
	row.Waiters = t.waitQueue.count(l.key)
	return row
}

// describeEvent returns l, which may be free, as an event does: without the remaining
// time and the number of waiters.
func (t *table) describeEvent(l *lock) stores.LockInfo { return l.info(t.declared.ttl(l.key)) }

// info returns l as a lock that was declared with the TTL, or not declared if it is zero.
func (l *lock) info(declared time.Duration) stores.LockInfo {
	return stores.LockInfo{
		Key: l.key, Owner: l.owner, TTL: l.ttl, Token: l.token, Metadata: maps.Clone(l.metadata), DeclaredTTL: declared,
	}
}

// remaining returns how long l is held after a moment, which is given as the time since
// the table's epoch.
func (l *lock) remaining(at time.Duration) time.Duration { return max(0, l.expires-at) }

// free reports whether all of the locks are free.
func (t *table) free(keys []string, now time.Time) bool {
	for _, key := range keys {
		if l, ok := t.get(key); ok && t.held(l, now) {
			return false
		}
	}
	return true
}

// grant grants free locks to the owner, with one token.
func (t *table) grant(req *request, now time.Time) stores.Grant {
	t.token = max(t.token+1, uint64(now.UnixMicro()))
	for _, key := range req.Keys {
		l := &lock{key: key, owner: req.Owner, token: t.token}
		if len(req.Metadata) > 0 {
			l.metadata = maps.Clone(req.Metadata)
		}
		if last, ok := t.byKey.SetHint(l, &t.hint); ok { // it has expired
			t.byExpiry.Delete(last)
			t.publish(stores.EventExpired, last)
		}
		t.start(l, req.TTL, now)
		t.publish(stores.EventAcquired, l)
	}
	return stores.Grant{Acquired: true, Token: t.token, TTL: req.TTL, Expires: now.Add(req.TTL)}
}

// start starts the TTL of l.
func (t *table) start(l *lock, ttl time.Duration, now time.Time) {
	l.ttl = ttl
	l.expires = now.Add(ttl).Sub(t.epoch)
	t.byExpiry.Set(l)
	t.setAlarm(now)
}

// end removes l and grants it to the next waiter.
func (t *table) end(l *lock, how stores.EventKind, now time.Time) {
	t.remove(l, how)
	t.grantNext(l.key, now)
}

// remove removes l, if it is in the table. The caller grants it to the next waiter.
func (t *table) remove(l *lock, how stores.EventKind) {
	t.byKey.DeleteHint(l, &t.hint)
	t.byExpiry.Delete(l)
	t.publish(how, l)
}

func (t *table) get(key string) (*lock, bool) {
	t.lookupKey.key = key
	return t.byKey.GetHint(&t.lookupKey, &t.hint)
}

// heldBy returns the lock if owner holds it, and otherwise ErrNotHeld or ErrNotOwner.
func (t *table) heldBy(key, owner string, now time.Time) (*lock, error) {
	l, err := t.heldByAny(key, now)
	if err == nil && l.owner != owner {
		return nil, stores.ErrNotOwner
	}
	return l, err
}

// heldByAny returns the lock if any owner holds it, and otherwise ErrNotHeld.
func (t *table) heldByAny(key string, now time.Time) (*lock, error) {
	l, ok := t.get(key)
	if !ok || !t.held(l, now) {
		return nil, stores.ErrNotHeld
	}
	return l, nil
}

func (t *table) held(l *lock, now time.Time) bool { return l.remaining(now.Sub(t.epoch)) > 0 }

// reclaim removes at most n locks that have expired.
func (t *table) reclaim(n int, now time.Time) {
	for range n {
		l, ok := t.byExpiry.Min()
		if !ok || t.held(l, now) {
			return
		}
		t.end(l, stores.EventExpired, now)
	}
}

// setAlarm sets the alarm not later than the next expiry, if there are waiters or
// watchers. If locks are released before they expire, the alarm seldom moves: it fires
// early, once in a TTL, and is set again.
func (t *table) setAlarm(now time.Time) {
	if t.waitQueue.empty() && t.watchers.empty() {
		return
	}
	l, ok := t.byExpiry.Min()
	if !ok || t.alarmFor != 0 && t.alarmFor <= l.expires {
		return
	}
	t.alarmFor = l.expires
	left := l.expires - now.Sub(t.epoch)
	if t.alarm == nil {
		t.alarm = time.AfterFunc(left, t.sweep)
	} else {
		t.alarm.Reset(left)
	}
}

// sweep removes the locks that have expired when the alarm fires.
func (t *table) sweep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.alarmFor = 0
	t.reclaim(reclaimPerSweep, now)
	t.setAlarm(now)
}

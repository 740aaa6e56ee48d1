package memory

import (
	"maps"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/mortise-lock/mortise/stores"
)

// How many expired locks are cleared away at once.
const (
	// perGrant is two for the one that a grant adds: the table shrinks to what is held
	// while locks are being taken and forgotten, and no call pays for a backlog.
	reclaimPerGrant = 2
	reclaimPerSweep = 1000 // a millisecond or two, in which nobody else gets at the table
)

// table is the locks of one component: the rules of the contract on an ordered map.
//
// Tokens are the larger of the last token plus one and the wall clock in microseconds
// since 1970. So they grow within the process whatever the clock does, and across a
// restart because the clock has moved on, without anything written down. They stay below
// 2^53, which JSON numbers hold exactly, until the year 2255.
//
// Locks that nobody asks for expire unnoticed, until a grant clears them away. Only while
// somebody waits or watches is there an alarm that does it in the moment when they
// expire.
type table struct {
	epoch time.Time // expiries count from here on the monotonic clock

	mu        sync.Mutex // of all that follows; whoever waits for a lock does not hold it
	byKey     *btree.BTreeG[*lock]
	byExpiry  *btree.BTreeG[*lock] // the same locks, the next to expire first
	hint      btree.PathHint       // where the last look-up in byKey ended; the change that follows begins there
	lookupKey lock                 // what get looks for; its own, so that a look-up allocates nothing
	token     uint64               // the last one given
	declared  declarations         // what exists also while nobody holds it
	waitQueue waitQueue            // who waits
	watchers  watcherSet           // who watches
	alarm     *time.Timer          // calls sweep; nil until it is first set
	alarmFor  time.Duration        // when, since the epoch; 0 is never. It may be earlier than need be, but not later
}

// lock is a lock that was granted and not given back; it may have expired. It is small
// because there may be millions. Once mu is free it never changes, since a [view] may
// have it.
type lock struct {
	key, owner string
	token      uint64
	ttl        time.Duration
	expires    time.Duration // since the table's epoch
	metadata   map[string]string
}

func newTable() *table {
	unlocked := btree.Options{NoLocks: true} // mu does that
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
			return a.key < b.key // taken in one step
		}, unlocked),
		declared:  newDeclarations(),
		waitQueue: newWaitQueue(),
		watchers:  newWatcherSet(now),
	}
}

// take grants the locks, unless it is before from or somebody holds one of them or waits
// for it. If the request has a group it fails as enter does.
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

// unlock ends the owner's lock, or its wait for a lock of a group. It never has both:
// enter sees to that, and that nobody overtakes.
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

// revoke ends the owner's lock, or if owner is empty the lock of whoever holds it.
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

// renew lets the owner's lock last for req.TTL from now.
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

// rowNow tells people about l, which may be vacant, and about those who wait for it.
func (t *table) describe(l *lock, now time.Time) stores.LockInfo {
	row := t.describeEvent(l)
	row.Remaining = l.remaining(now.Sub(t.epoch))
	row.Waiters = t.waitQueue.count(l.key)
	return row
}

// row tells people about l, which may be vacant.
func (t *table) describeEvent(l *lock) stores.LockInfo { return l.info(t.declared.ttl(l.key)) }

func (l *lock) info(declared time.Duration) stores.LockInfo {
	return stores.LockInfo{
		Key: l.key, Owner: l.owner, TTL: l.ttl, Token: l.token, Metadata: maps.Clone(l.metadata), DeclaredTTL: declared,
	}
}

// remaining is how long l is held after a moment since the table's epoch.
func (l *lock) remaining(at time.Duration) time.Duration { return max(0, l.expires-at) }

// vacant tells whether nobody holds any of the locks.
func (t *table) free(keys []string, now time.Time) bool {
	for _, key := range keys {
		if l, ok := t.get(key); ok && t.held(l, now) {
			return false
		}
	}
	return true
}

// grant gives vacant locks to the owner, with one token.
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

// start lets the TTL of l start now.
func (t *table) start(l *lock, ttl time.Duration, now time.Time) {
	l.ttl = ttl
	l.expires = now.Add(ttl).Sub(t.epoch)
	t.byExpiry.Set(l)
	t.setAlarm(now)
}

// end removes l; who waits for it is next.
func (t *table) end(l *lock, how stores.EventKind, now time.Time) {
	t.remove(l, how)
	t.grantNext(l.key, now)
}

// remove removes l, if it is there. The caller serves those who wait for it.
func (t *table) remove(l *lock, how stores.EventKind) {
	t.byKey.DeleteHint(l, &t.hint)
	t.byExpiry.Delete(l)
	t.publish(how, l)
}

func (t *table) get(key string) (*lock, bool) {
	t.lookupKey.key = key
	return t.byKey.GetHint(&t.lookupKey, &t.hint)
}

// heldBy returns the lock if owner holds it.
func (t *table) heldBy(key, owner string, now time.Time) (*lock, error) {
	l, err := t.heldByAny(key, now)
	if err == nil && l.owner != owner {
		return nil, stores.ErrNotOwner
	}
	return l, err
}

// heldByAny returns the lock if anybody holds it.
func (t *table) heldByAny(key string, now time.Time) (*lock, error) {
	l, ok := t.get(key)
	if !ok || !t.held(l, now) {
		return nil, stores.ErrNotHeld
	}
	return l, nil
}

func (t *table) held(l *lock, now time.Time) bool { return l.remaining(now.Sub(t.epoch)) > 0 }

// reclaim clears away at most n locks that have expired.
func (t *table) reclaim(n int, now time.Time) {
	for range n {
		l, ok := t.byExpiry.Min()
		if !ok || t.held(l, now) {
			return
		}
		t.end(l, stores.EventExpired, now)
	}
}

// setAlarm sees to it that, if somebody waits or watches, the alarm is not later than the
// next expiry. Where locks are given back in time the alarm is rarely moved: it goes off
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

// sweep clears away what has expired when the alarm goes off.
func (t *table) sweep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.alarmFor = 0
	t.reclaim(reclaimPerSweep, now)
	t.setAlarm(now)
}

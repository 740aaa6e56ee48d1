package memory

import (
	"strings"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/mortise-lock/mortise/stores"
)

// reclaimPerCall is how many expired locks a grant clears away. Two for each one that it adds: the table shrinks to what
// is held while locks are being taken and forgotten, and no call pays for a backlog.
const reclaimPerCall = 2

// table is the locks of one component: the rules of the contract on an ordered map.
//
// Tokens are the larger of the last token plus one and the wall clock in microseconds since 1970. So they grow within
// the process whatever the clock does, and across a restart because the clock has moved on, without anything written
// down. They stay below 2^53, which JSON numbers hold exactly, until the year 2255.
type table struct {
	epoch time.Time // expiries count from here on the monotonic clock

	mu       sync.Mutex
	byKey    *btree.BTreeG[*lock]
	byExpiry *btree.BTreeG[*lock] // the same locks, the next to expire first
	hint     btree.PathHint       // where the last look-up in byKey ended; the change that follows begins there
	token    uint64               // the last one given
}

// lock is a lock that was granted and not given back; it may have expired. It is small because there may be millions.
type lock struct {
	key, owner string
	token      uint64
	ttl        time.Duration
	expires    time.Duration // since the table's epoch
}

func newTable() *table {
	unlocked := btree.Options{NoLocks: true} // mu does that
	return &table{
		epoch: time.Now(),
		byKey: btree.NewBTreeGOptions(func(a, b *lock) bool { return a.key < b.key }, unlocked),
		byExpiry: btree.NewBTreeGOptions(func(a, b *lock) bool {
			return a.expires < b.expires || a.expires == b.expires && a.token < b.token
		}, unlocked),
	}
}

// take grants the lock if nobody holds it.
func (t *table) take(req stores.Request) stores.Grant {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.reclaim(now)
	next := &lock{key: req.Key, owner: req.Owner}
	if last, ok := t.byKey.GetHint(next, &t.hint); ok {
		if t.held(last, now) {
			return stores.Grant{}
		}
		t.remove(last)
	}
	t.token = max(t.token+1, uint64(now.UnixMicro()))
	next.token = t.token
	return t.put(next, req.TTL, now)
}

// free ends the owner's lock.
func (t *table) free(key, owner string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	l, err := t.heldBy(key, owner, time.Now())
	if err != nil {
		return err
	}
	t.remove(l)
	return nil
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
	t.byExpiry.Delete(l)
	return t.put(l, req.TTL, now), nil
}

// list returns the held locks under a prefix, by key.
func (t *table) list(prefix string) []stores.Lock {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	var locks []stores.Lock
	t.byKey.Ascend(&lock{key: prefix}, func(l *lock) bool {
		if !strings.HasPrefix(l.key, prefix) {
			return false
		}
		if left := l.expires - now.Sub(t.epoch); left > 0 {
			locks = append(locks, stores.Lock{Key: l.key, Owner: l.owner, TTL: l.ttl, Remaining: left, Token: l.token})
		}
		return true
	})
	return locks
}

// put stores l with a TTL that starts now.
func (t *table) put(l *lock, ttl time.Duration, now time.Time) stores.Grant {
	l.ttl = ttl
	l.expires = now.Add(ttl).Sub(t.epoch)
	t.byKey.SetHint(l, &t.hint)
	t.byExpiry.Set(l)
	return stores.Grant{Acquired: true, Token: l.token, Expires: now.Add(ttl)}
}

func (t *table) remove(l *lock) {
	t.byKey.DeleteHint(l, &t.hint)
	t.byExpiry.Delete(l)
}

// heldBy returns the lock if owner holds it.
func (t *table) heldBy(key, owner string, now time.Time) (*lock, error) {
	l, ok := t.byKey.GetHint(&lock{key: key}, &t.hint)
	if !ok || !t.held(l, now) {
		return nil, stores.ErrNotHeld
	}
	if l.owner != owner {
		return nil, stores.ErrNotOwner
	}
	return l, nil
}

func (t *table) held(l *lock, now time.Time) bool { return now.Sub(t.epoch) < l.expires }

// reclaim clears away some of the locks that have expired.
func (t *table) reclaim(now time.Time) {
	for range reclaimPerCall {
		l, ok := t.byExpiry.Min()
		if !ok || t.held(l, now) {
			return
		}
		t.remove(l)
	}
}

package memory

import (
	"slices"
	"strings"
	"time"

	"github.com/tidwall/btree"

	"github.com/mortise-lock/mortise/stores"
)

// perCount is for how many locks at once those who wait are counted: a tenth of a
// millisecond.
const countBatch = 1000

// view is the locks of one moment. It is read without the table's mutex, so that nobody
// waits while there are millions to read. Its trees are copies, made in no time: until
// the table changes something they share all that they have.
type view struct {
	byKey    *btree.BTreeG[*lock]
	declared *btree.Map[string, declaration]
	at       time.Duration // the moment, since the table's epoch
}

// view returns the locks of now. The caller has the mutex.
func (t *table) view(now time.Time) view {
	return view{t.byKey.Copy(), t.declared.byKey.Copy(), now.Sub(t.epoch)}
}

// list returns the held and the declared locks under a prefix, by key.
func (t *table) list(prefix string) []stores.LockInfo {
	t.mu.Lock()
	v := t.view(time.Now())
	t.mu.Unlock()
	return t.describeView(v, prefix)
}

// rows returns the rows of v, with those who wait now.
func (t *table) describeView(v view, prefix string) []stores.LockInfo {
	rows := v.list(prefix)
	for some := range slices.Chunk(rows, countBatch) {
		t.countWaiters(some)
	}
	return rows
}

// countWaiters fills in how many wait for the locks.
func (t *table) countWaiters(rows []stores.LockInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waitQueue.empty() {
		return
	}
	for i := range rows {
		rows[i].Waiters = t.waitQueue.count(rows[i].Key)
	}
}

// rows returns the held and the declared locks under a prefix, by key, without those who
// wait.
func (v view) list(prefix string) []stores.LockInfo {
	var rows []stores.LockInfo
	v.byKey.Ascend(&lock{key: prefix}, func(l *lock) bool {
		if !strings.HasPrefix(l.key, prefix) {
			return false
		}
		if left := l.remaining(v.at); left > 0 {
			declared, _ := v.declared.Get(l.key)
			row := l.info(declared.ttl)
			row.Remaining = left
			rows = append(rows, row)
		}
		return true
	})
	return v.withFree(rows, prefix)
}

// withFree returns rows, which are the held locks under prefix, and between them the
// declared ones that nobody holds.
func (v view) withFree(rows []stores.LockInfo, prefix string) []stores.LockInfo {
	if v.declared.Len() == 0 {
		return rows
	}
	var all []stores.LockInfo
	v.declared.Ascend(prefix, func(key string, d declaration) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		before, held := slices.BinarySearchFunc(rows, key, func(l stores.LockInfo, key string) int {
			return strings.Compare(l.Key, key)
		})
		if !held {
			all = append(append(all, rows[:before]...), stores.LockInfo{Key: key, DeclaredTTL: d.ttl})
			rows = rows[before:]
		}
		return true
	})
	return append(all, rows...)
}

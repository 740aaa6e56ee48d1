package memory

import (
	"slices"
	"strings"
	"time"

	"github.com/tidwall/btree"

	"github.com/mortise-lock/mortise/stores"
)

// countBatch is the number of locks whose waiters are counted while the mutex is locked,
// which takes a tenth of a millisecond.
const countBatch = 1000

// view is a snapshot of the table's locks. It is read without the table's mutex, so that
// other calls do not wait while millions of locks are read. Its trees are copied on
// write, so taking a view takes constant time.
type view struct {
	byKey    *btree.BTreeG[*lock]
	declared *btree.Map[string, declaration]
	at       time.Duration // when the view was taken, since the table's epoch
}

// view returns a view of the table. The caller has locked mu.
func (t *table) view(now time.Time) view {
	return view{t.byKey.Copy(), t.declared.byKey.Copy(), now.Sub(t.epoch)}
}

// list returns the locks under prefix that are held or declared, sorted by key.
func (t *table) list(prefix string) []stores.LockInfo {
	t.mu.Lock()
	v := t.view(time.Now())
	t.mu.Unlock()
	return t.describeView(v, prefix)
}

// describeView returns the locks of v with the present numbers of waiters.
func (t *table) describeView(v view, prefix string) []stores.LockInfo {
	rows := v.list(prefix)
	for some := range slices.Chunk(rows, countBatch) {
		t.countWaiters(some)
	}
	return rows
}

// countWaiters sets the present numbers of waiters.
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

// list returns the locks of v under prefix that are held or declared, sorted by key. It
// does not count waiters.
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

// withFree inserts the free declared locks under prefix into rows, which are the held
// locks under prefix, and returns the result.
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

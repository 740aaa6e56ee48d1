package main

// The evidence for a design decision: the cost of the memory store if it used go-memdb.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/dapr/kit/logger"
	"github.com/google/uuid"
	"github.com/hashicorp/go-memdb"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// tableMetrics are the metrics of these sides. The second is measured once, when the
// table is filled, and is the same in every round.
var tableMetrics = []metric{{"time", "ns/lock", aim{}}, {"heap", "bytes/lock", aim{}}}

// locks is the interface of both sides.
type locks interface {
	lock(ctx context.Context, key, owner string) error
	unlock(ctx context.Context, key, owner string) error
}

// memoryStore is the memory store in this process, with n held locks.
func memoryStore(n int) side {
	return tableSide(fmt.Sprintf("memory store, %d held", n), n, func() (locks, error) {
		c := stores.Component{Name: "bench", Log: logger.NewLogger("bench")}
		s, err := memory.NewProcess().Backend().Open(context.Background(), c)
		return storeLocks{s}, err
	})
}

// memDB is a minimal implementation of the same contract on go-memdb, with n held locks.
// It has an index by key only; removing expired locks, as the memory store does, would
// require a second index.
func memDB(n int) side {
	return tableSide(fmt.Sprintf("go-memdb, %d held", n), n, func() (locks, error) {
		db, err := memdb.NewMemDB(&memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
			"locks": {Name: "locks", Indexes: map[string]*memdb.IndexSchema{
				"id": {Name: "id", Unique: true, Indexer: keyIndex{}},
			}},
		}})
		return &memDBLocks{db: db, epoch: time.Now()}, err
	})
}

// tableSide fills a table with n locks and measures pairs of one caller among them.
func tableSide(name string, n int, open func() (locks, error)) side {
	return side{name, func(ctx context.Context, l *env) (sampler, error) {
		before := heap()
		table, err := open()
		if err != nil {
			return nil, err
		}
		for i := range n {
			if err := table.lock(ctx, heldKey(int64(i)), uuid.NewString()); err != nil {
				return nil, err
			}
		}
		each := float64(heap()-before) / float64(n)
		between := keysBetween(n)
		return func(ctx context.Context) ([]float64, error) {
			ns, err := timePairs(ctx, table, between, l.interval())
			return []float64{ns, each}, err
		}, nil
	}}
}

// heap returns the number of bytes in use. Pools and finalizers release memory only in
// later collections.
func heap() int64 {
	for range 3 {
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// keysBetween returns keys of free locks, spread among those of n held locks.
func keysBetween(n int) []string {
	keys := make([]string, 4096)
	for i := range keys {
		keys[i] = heldKey(int64(i)*7919%int64(n)) + fmt.Sprintf("/%d", i)
	}
	return keys
}

// timePairs returns how many nanoseconds it takes to lock and unlock.
func timePairs(ctx context.Context, table locks, keys []string, interval time.Duration) (float64, error) {
	owner := uuid.NewString()
	start, n := time.Now(), 0
	for time.Since(start) < interval && ctx.Err() == nil {
		for _, key := range keys[:256] {
			if err := errors.Join(table.lock(ctx, key, owner), table.unlock(ctx, key, owner)); err != nil {
				return 0, err
			}
		}
		n += 256
		keys = append(keys[256:], keys[:256]...)
	}
	return float64(time.Since(start).Nanoseconds()) / float64(n), context.Cause(ctx)
}

// storeLocks implements locks with a store.
type storeLocks struct{ stores.Store }

func (s storeLocks) lock(ctx context.Context, key, owner string) error {
	grant, err := s.TryLock(ctx, stores.Request{Key: key, Owner: owner, TTL: heldTTL * time.Second})
	if err == nil && !grant.Acquired {
		err = errNotLocked
	}
	return err
}

func (s storeLocks) unlock(ctx context.Context, key, owner string) error {
	return s.Unlock(ctx, key, owner)
}

// memDBLocks implements locks with go-memdb.
type memDBLocks struct {
	db    *memdb.MemDB
	epoch time.Time
	mu    sync.Mutex
	token uint64
}

// memDBLock is a row of memDBLocks.
type memDBLock struct {
	key, owner   string
	token        uint64
	ttl, expires time.Duration
}

func (m *memDBLocks) lock(_ context.Context, key, owner string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	txn := m.db.Txn(true)
	defer txn.Abort()
	now := time.Since(m.epoch)
	if found, err := txn.First("locks", "id", key); err != nil {
		return err
	} else if found != nil && now < found.(*memDBLock).expires {
		return errNotLocked
	}
	m.token = max(m.token+1, uint64(time.Now().UnixMicro()))
	const lease = heldTTL * time.Second
	if err := txn.Insert("locks", &memDBLock{key, owner, m.token, lease, now + lease}); err != nil {
		return err
	}
	txn.Commit()
	return nil
}

func (m *memDBLocks) unlock(_ context.Context, key, owner string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	txn := m.db.Txn(true)
	defer txn.Abort()
	found, err := txn.First("locks", "id", key)
	if err != nil {
		return err
	}
	if found == nil || found.(*memDBLock).owner != owner {
		return errNotLocked
	}
	if err := txn.Delete("locks", found); err != nil {
		return err
	}
	txn.Commit()
	return nil
}

// keyIndex indexes a lock by its key, without the reflection of go-memdb's own indexes.
type keyIndex struct{}

// FromArgs returns the index of the searched key.
func (keyIndex) FromArgs(args ...any) ([]byte, error) {
	return append([]byte(args[0].(string)), 0), nil
}

// FromObject returns the index of a lock.
func (keyIndex) FromObject(lock any) (bool, []byte, error) {
	return true, append([]byte(lock.(*memDBLock).key), 0), nil
}

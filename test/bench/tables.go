package main

// A design decision, kept in evidence: what the memory store would cost on go-memdb. It
// is no part of the program.

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

// tableMetrics are those of the samples here. The second is of the first fill and the
// same in every round.
var tableMetrics = []metric{{"time", "ns/lock", aim{}}, {"heap", "bytes/lock", aim{}}}

// locks is what both sides have: take a lock, and give it back.
type locks interface {
	take(ctx context.Context, key, owner string) error
	free(ctx context.Context, key, owner string) error
}

// memoryStore is the memory store as it is, in this process, holding n locks.
func memoryStore(n int) side {
	return tableSide(fmt.Sprintf("memory store, %d held", n), n, func() (locks, error) {
		c := stores.Component{Name: "bench", Log: logger.NewLogger("bench")}
		s, err := memory.NewProcess().Backend().Open(context.Background(), c)
		return storeLocks{s}, err
	})
}

// memDB is the same contract on go-memdb, as short as it can be, holding n locks. It
// finds locks by key only; clearing away what has expired, which the memory store does,
// would take a second index.
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

// tableSide fills a table with n locks and measures pairs among them, by one caller.
func tableSide(name string, n int, open func() (locks, error)) side {
	return side{name, func(ctx context.Context, l *lab) (sampler, error) {
		before := heap()
		table, err := open()
		if err != nil {
			return nil, err
		}
		for i := range n {
			if err := table.take(ctx, heldKey(int64(i)), uuid.NewString()); err != nil {
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

// heap is how many bytes are in use. Pools and finalizers let go of theirs only at a
// later collection than the first.
func heap() int64 {
	for range 3 {
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// keysBetween are keys of locks that are free, spread over those of n that are held.
func keysBetween(n int) []string {
	keys := make([]string, 4096)
	for i := range keys {
		keys[i] = heldKey(int64(i)*7919%int64(n)) + fmt.Sprintf("/%d", i)
	}
	return keys
}

// timePairs is how many nanoseconds it takes to take a lock and give it back.
func timePairs(ctx context.Context, table locks, keys []string, interval time.Duration) (float64, error) {
	owner := uuid.NewString()
	start, n := time.Now(), 0
	for time.Since(start) < interval && ctx.Err() == nil {
		for _, key := range keys[:256] {
			if err := errors.Join(table.take(ctx, key, owner), table.free(ctx, key, owner)); err != nil {
				return 0, err
			}
		}
		n += 256
		keys = append(keys[256:], keys[:256]...)
	}
	return float64(time.Since(start).Nanoseconds()) / float64(n), context.Cause(ctx)
}

// storeLocks is any store of ours.
type storeLocks struct{ stores.Store }

func (s storeLocks) take(ctx context.Context, key, owner string) error {
	grant, err := s.TryLock(ctx, stores.Request{Key: key, Owner: owner, TTL: heldTTL * time.Second})
	if err == nil && !grant.Acquired {
		err = errLocks
	}
	return err
}

func (s storeLocks) free(ctx context.Context, key, owner string) error {
	return s.Unlock(ctx, key, owner)
}

// memDBLocks is locks on go-memdb.
type memDBLocks struct {
	db    *memdb.MemDB
	epoch time.Time
	mu    sync.Mutex
	token uint64
}

// memDBLock is what it stores.
type memDBLock struct {
	key, owner   string
	token        uint64
	ttl, expires time.Duration
}

func (m *memDBLocks) take(_ context.Context, key, owner string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	txn := m.db.Txn(true)
	defer txn.Abort()
	now := time.Since(m.epoch)
	if found, err := txn.First("locks", "id", key); err != nil {
		return err
	} else if found != nil && now < found.(*memDBLock).expires {
		return errLocks
	}
	m.token = max(m.token+1, uint64(time.Now().UnixMicro()))
	const lease = heldTTL * time.Second
	if err := txn.Insert("locks", &memDBLock{key, owner, m.token, lease, now + lease}); err != nil {
		return err
	}
	txn.Commit()
	return nil
}

func (m *memDBLocks) free(_ context.Context, key, owner string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	txn := m.db.Txn(true)
	defer txn.Abort()
	found, err := txn.First("locks", "id", key)
	if err != nil {
		return err
	}
	if found == nil || found.(*memDBLock).owner != owner {
		return errLocks
	}
	if err := txn.Delete("locks", found); err != nil {
		return err
	}
	txn.Commit()
	return nil
}

// keyIndex indexes a lock by its key, without the reflection of go-memdb's own indexes.
type keyIndex struct{}

// FromArgs is the index of the key that is looked for.
func (keyIndex) FromArgs(args ...any) ([]byte, error) {
	return append([]byte(args[0].(string)), 0), nil
}

// FromObject is the index of a lock.
func (keyIndex) FromObject(lock any) (bool, []byte, error) {
	return true, append([]byte(lock.(*memDBLock).key), 0), nil
}

package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// lockCall is one Lock or LockAll call in progress.
type lockCall struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	grant  stores.Grant
	err    error
}

// startLock starts a Lock, and returns when the key's queue has the given length.
func startLock(t *testing.T, s *Store, req stores.Request, queued int) *lockCall {
	t.Helper()
	return start(t, s, queued, req.Key, func(ctx context.Context) (stores.Grant, error) { return s.Lock(ctx, req) })
}

func startLockAll(t *testing.T, s *Store, req stores.MultiRequest, queued int) *lockCall {
	t.Helper()
	req.Wait = true
	return start(t, s, queued, req.Keys[0], func(ctx context.Context) (stores.Grant, error) { return s.LockAll(ctx, req) })
}

func start(t *testing.T, s *Store, queued int, key string, lock func(context.Context) (stores.Grant, error)) *lockCall {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &lockCall{t: t, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.grant, w.err = lock(ctx)
	}()
	t.Cleanup(func() { cancel(); <-w.done })
	eventually(t, fmt.Sprintf("%d waiters for %q", queued, key), func() bool { return waiters(t, s, key) == queued })
	// Redis may answer concurrent requests in any order. By now it has answered the Lock.
	waiters(t, s, key)
	return w
}

// result waits until Lock has returned, for ten seconds at most.
func (w *lockCall) result() (stores.Grant, error) {
	w.t.Helper()
	select {
	case <-w.done:
	case <-time.After(10 * time.Second):
		w.t.Fatal("Lock does not return")
	}
	return w.grant, w.err
}

// granted returns the token of a Lock that must have been granted.
func (w *lockCall) granted() uint64 {
	w.t.Helper()
	g, err := w.result()
	if err != nil || !g.Acquired || g.Token == 0 {
		w.t.Fatalf("lock: %+v, %v", g, err)
	}
	return g.Token
}

func (w *lockCall) isWaiting() bool {
	select {
	case <-w.done:
		return false
	default:
		return true
	}
}

func waiters(t *testing.T, s *Store, key string) int {
	t.Helper()
	n, err := s.client.ZCard(t.Context(), "mortise:queue:"+key).Result()
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func request(key, owner string, ttl time.Duration, holding ...string) stores.Request {
	return stores.Request{Key: key, Owner: owner, TTL: ttl, Holding: holding}
}

func TestLock_Order(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	both := []*Store{openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)}
	last := lock(t, both[0], "k", "holder", time.Minute)
	var (
		mu    sync.Mutex
		order []string
	)
	const n = 20
	all := make([]*lockCall, n)
	for i := range all {
		s, owner := both[i%2], fmt.Sprint("owner ", i)
		all[i] = start(t, s, i+1, "k", func(ctx context.Context) (stores.Grant, error) {
			g, err := s.Lock(ctx, request("k", owner, time.Minute))
			mu.Lock()
			order = append(order, owner)
			mu.Unlock()
			return g, errors.Join(err, s.Unlock(ctx, "k", owner))
		})
	}
	list, err := both[1].List(t.Context(), "k")
	if err != nil || len(list) != 1 || list[0].Waiters != n {
		t.Errorf("list: %+v, %v", list, err)
	}
	unlock(t, both[1], "k", "holder")
	for i, w := range all {
		if token := w.granted(); token <= last {
			t.Errorf("the token of waiter %d is not larger than the one before", i)
		} else {
			last = token
		}
	}
	for i, owner := range order {
		if want := fmt.Sprint("owner ", i); owner != want {
			t.Fatalf("served in the order %s", strings.Join(order, ", "))
		}
	}
	onlyTheTokenIsLeft(t, both[0])
}

// onlyTheTokenIsLeft waits until Redis has no key but that of the token, and notes of
// waiters that have left. A waiter whose request may be delayed leaves such a note.
func onlyTheTokenIsLeft(t *testing.T, s *Store) {
	t.Helper()
	eventually(t, "only the last token is left", func() bool {
		keys := s.client.Keys(t.Context(), "*").Val()
		keys = slices.DeleteFunc(keys, func(key string) bool {
			return strings.HasPrefix(key, "mortise:waiter:") && slices.Equal(s.client.HKeys(t.Context(), key).Val(), []string{"left"}) &&
				s.client.PTTL(t.Context(), key).Val() > 0
		})
		return slices.Equal(keys, []string{tokenKey})
	})
}

func TestLock_LockRedisHolds(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	const key = "lock||app||r"
	if !client.SetNX(t.Context(), key, "theirs", time.Minute).Val() {
		t.Fatal("SET NX must succeed")
	}
	w := startLock(t, s, request(key, "ours", time.Minute), 1)
	if got := client.Eval(t.Context(), lockRedisUnlock, []string{key}, "theirs").Val(); got != int64(1) {
		t.Fatalf("lock.redis unlocks as the owner: %v", got)
	}
	freed := time.Now()
	w.granted()
	if took := time.Since(freed); took > 2*time.Second {
		t.Errorf("took %v to notice a release without a message", took)
	}
}

func TestLock_HolderExpires(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	lock(t, s, "k", "dead", 700*time.Millisecond)
	w := startLock(t, s, request("k", "o", time.Minute), 1)
	w.granted()
	if ttl := s.client.PTTL(t.Context(), "k").Val(); ttl < 50*time.Second {
		t.Errorf("the lock was claimed for %v only", ttl)
	}
}

// TestLock_Expires compares the two clocks at the time of a request to Redis.
func TestLock_Expires(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	a, b := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	for _, row := range []struct {
		name string
		from *Store
	}{{"handed over by the same store", a}, {"handed over by another store", b}} {
		t.Run(row.name, func(t *testing.T) {
			lock(t, row.from, "k", "first", time.Minute)
			w := startLock(t, a, request("k", "o", time.Minute), 1)
			unlock(t, row.from, "k", "first")
			g, err := w.result()
			asked := time.Now()
			left := a.client.PTTL(t.Context(), "k").Val()
			if err != nil || g.Expires.After(asked.Add(left+2*time.Millisecond).Add(time.Since(asked))) {
				t.Errorf("expires in %v, in Redis in %v; %v", g.Expires.Sub(asked), left, err)
			}
			if g.Expires.Before(asked.Add(50 * time.Second)) {
				t.Errorf("expires in %v", g.Expires.Sub(asked))
			}
			unlock(t, a, "k", "o")
		})
	}
}

func TestLockAll_PartlyRevokedBeforeClaim(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	w := s.newWaiter(stores.MultiRequest{Keys: []string{"a", "b"}, Owner: "o", TTL: time.Minute})
	if g, err := s.request(t.Context(), w, true); err != nil || !g.Acquired {
		t.Fatal(g, err)
	}
	if err := s.Revoke(t.Context(), "a", ""); err != nil {
		t.Fatal(err)
	}
	lock(t, s, "a", "other", time.Minute)
	if g, err := s.request(t.Context(), w, true); err != nil || g.Acquired {
		t.Fatal("claimed a revoked lock", g, err)
	}
	if n := s.client.Exists(t.Context(), "b").Val(); n != 0 {
		t.Error("one of two locks is held")
	}
	if waiters(t, s, "a") != 1 || waiters(t, s, "b") != 1 {
		t.Error("the waiter must be in both queues")
	}
}

func TestLock_LeavesNoKeys(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	a, b := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	lock(t, a, "k", "holder", time.Minute)
	lock(t, a, "l", "holder", time.Minute)
	all := []*lockCall{
		startLock(t, a, request("k", "granted", time.Minute, "x", "y"), 1),
		startLock(t, b, request("k", "cancelled", time.Minute, "x"), 2),
		startLockAll(t, b, stores.MultiRequest{Keys: []string{"k", "l"}, Owner: "both", TTL: time.Minute, Holding: []string{"z"}}, 3),
	}
	if _, err := b.Lock(t.Context(), request("k", "stuck", time.Minute, "holder")); !errors.Is(err, stores.ErrDeadlock) {
		t.Errorf("lock while holding it: %v", err)
	}
	all[1].cancel()
	if _, err := all[1].result(); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	unlock(t, a, "k", "holder")
	all[0].granted()
	unlock(t, b, "k", "granted")
	unlock(t, b, "l", "holder")
	all[2].granted()
	unlock(t, a, "k", "both")
	unlock(t, a, "l", "both")
	onlyTheTokenIsLeft(t, a)
}

func TestLock_Metadata(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	lock(t, s, "k", "first", time.Minute)
	odd := map[string]string{"purpose": "a \"b\" \x00 <é>", "": "empty"}
	req := request("k", "o", time.Minute)
	req.Metadata = odd
	w := startLock(t, s, req, 1)
	unlock(t, s, "k", "first")
	w.granted()
	if list, err := s.List(t.Context(), ""); err != nil || len(list) != 1 || !maps.Equal(list[0].Metadata, odd) {
		t.Errorf("list: %+v, %v", list, err)
	}
	unlock(t, s, "k", "o")
	lock(t, s, "k", "plain", time.Minute)
	if list, err := s.List(t.Context(), ""); err != nil || len(list) != 1 || list[0].Metadata != nil {
		t.Errorf("list after a grant without metadata: %+v, %v", list, err)
	}
}

func TestLockAll_AnyBytes(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	keys, owner := []string{"1:2:" + string(all), "\xff\x00:", "9:"}, "0:"+string(all)
	for _, key := range keys {
		lock(t, s, key, "first", time.Minute)
	}
	w := startLockAll(t, s, stores.MultiRequest{Keys: keys, Owner: owner, TTL: time.Minute, Holding: []string{"\x00"}}, 1)
	for _, key := range keys {
		if !w.isWaiting() {
			t.Fatal("granted too early")
		}
		unlock(t, s, key, "first")
	}
	w.granted()
	for _, key := range keys {
		unlock(t, s, key, owner)
	}
	onlyTheTokenIsLeft(t, s)
}

// TestDeadlock_ThroughQueues covers a deadlock that the held locks alone do not show: a
// request for several locks is queued before ours, and waits for our lock.
func TestDeadlock_ThroughQueues(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	a, b := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	lock(t, a, "ours", "us", time.Minute)
	startLockAll(t, b, stores.MultiRequest{Keys: []string{"free", "ours"}, Owner: "both", TTL: time.Minute}, 1)
	if _, err := a.Lock(t.Context(), request("free", "us too", time.Minute, "us")); !errors.Is(err, stores.ErrDeadlock) {
		t.Errorf("behind a waiter for our lock: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := a.Lock(ctx, request("free", "others", time.Minute, "another")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("behind a waiter for another owner's lock: %v", err)
	}
}

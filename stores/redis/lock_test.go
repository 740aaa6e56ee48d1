package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// waiting is a Lock under way.
type waiting struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	grant  stores.Grant
	err    error
}

// startLock begins to wait for a lock, and returns when so many wait for its key as there are queued.
func startLock(t *testing.T, s *Store, req stores.Request, queued int) *waiting {
	t.Helper()
	return start(t, s, queued, req.Key, func(ctx context.Context) (stores.Grant, error) { return s.Lock(ctx, req) })
}

func startLockAll(t *testing.T, s *Store, req stores.MultiRequest, queued int) *waiting {
	t.Helper()
	req.Wait = true
	return start(t, s, queued, req.Keys[0], func(ctx context.Context) (stores.Grant, error) { return s.LockAll(ctx, req) })
}

func start(t *testing.T, s *Store, queued int, key string, lock func(context.Context) (stores.Grant, error)) *waiting {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &waiting{t: t, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.grant, w.err = lock(ctx)
	}()
	t.Cleanup(func() { cancel(); <-w.done })
	eventually(t, fmt.Sprintf("%d wait for %q", queued, key), func() bool { return waiters(t, s, key) == queued })
	return w
}

// end waits until Lock has returned, for ten seconds at most.
func (w *waiting) end() (stores.Grant, error) {
	w.t.Helper()
	select {
	case <-w.done:
	case <-time.After(10 * time.Second):
		w.t.Fatal("Lock does not return")
	}
	return w.grant, w.err
}

// granted returns the token of a Lock that must have been granted.
func (w *waiting) granted() uint64 {
	w.t.Helper()
	g, err := w.end()
	if err != nil || !g.Acquired || g.Token == 0 {
		w.t.Fatalf("lock: %+v, %v", g, err)
	}
	return g.Token
}

func (w *waiting) waits() bool {
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

func TestWaitersOfTwoStoresAreServedInTheOrderOfTheirArrival(t *testing.T) {
	server := servers.StartRedis(t)
	both := []*Store{openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)}
	last := lock(t, both[0], "k", "holder", time.Minute)
	var (
		mu    sync.Mutex
		order []string
	)
	const n = 20
	all := make([]*waiting, n)
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
			t.Errorf("the token of number %d is not larger than the one before", i)
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

func onlyTheTokenIsLeft(t *testing.T, s *Store) {
	t.Helper()
	eventually(t, "only the last token is left", func() bool {
		keys := s.client.Keys(t.Context(), "*").Val()
		return slices.Equal(keys, []string{tokenKey})
	})
}

package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// eventRecorder records the events of a Watch and the state that they describe.
type eventRecorder struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	pause  chan struct{} // has a message while record blocks

	mu     sync.Mutex
	events []stores.Event
	state  state
	missed int // snapshots with Missed
}

// state is a set of locks.
type state struct {
	held     map[string]string        // holder of each held lock
	declared map[string]time.Duration // TTL of each declared lock
}

// startWatch starts a Watch, and returns after the first snapshot.
func startWatch(t *testing.T, s *Store, prefix string) *eventRecorder {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &eventRecorder{t: t, cancel: cancel, done: make(chan struct{}), pause: make(chan struct{}, 1)}
	go func() {
		defer close(w.done)
		w.err = s.Watch(ctx, prefix, w.record)
	}()
	t.Cleanup(func() { cancel(); <-w.done })
	eventually(t, "the first snapshot", func() bool { return len(w.kinds()) > 0 })
	return w
}

func (w *eventRecorder) record(e stores.Event) error {
	w.pause <- struct{}{}
	<-w.pause
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.events); n > 0 && e.Revision < w.events[n-1].Revision {
		w.t.Errorf("revision %d after %d", e.Revision, w.events[n-1].Revision)
	}
	w.events = append(w.events, e)
	switch e.Kind {
	case stores.EventSnapshot:
		w.state = stateOf(e.Locks)
		if e.Missed {
			w.missed++
		}
	default:
		w.apply(e)
	}
	return nil
}

// apply applies a change, which must fit the state before it.
func (w *eventRecorder) apply(e stores.Event) {
	key, was := e.Lock.Key, holder(e.Lock)
	if e.Kind == stores.EventAcquired {
		was = ""
	}
	if held := w.state.held[key]; held != was {
		w.t.Errorf("%v of %+v, which is held by %q", e.Kind, e.Lock, held)
	}
	switch e.Kind {
	case stores.EventAcquired:
		w.state.held[key] = holder(e.Lock)
	case stores.EventDeclared:
		if ttl, ok := w.state.declared[key]; ok {
			w.t.Errorf("%v of %+v, which is declared with %v", e.Kind, e.Lock, ttl)
		}
		w.state.declared[key] = e.Lock.DeclaredTTL
	case stores.EventWithdrawn:
		if ttl, ok := w.state.declared[key]; !ok || ttl != e.Lock.DeclaredTTL {
			w.t.Errorf("%v of %+v, which is declared with %v", e.Kind, e.Lock, ttl)
		}
		delete(w.state.declared, key)
		delete(w.state.held, key)
	default:
		delete(w.state.held, key)
	}
}

// holder describes who holds a lock; it is empty for a free one.
func holder(l stores.LockInfo) string {
	if l.Owner == "" {
		return ""
	}
	return fmt.Sprintf("%q %d %v", l.Owner, l.Token, l.Metadata)
}

func stateOf(locks []stores.LockInfo) state {
	s := state{map[string]string{}, map[string]time.Duration{}}
	for _, l := range locks {
		if l.Owner != "" {
			s.held[l.Key] = holder(l)
		}
		if l.DeclaredTTL != 0 {
			s.declared[l.Key] = l.DeclaredTTL
		}
	}
	return s
}

func (w *eventRecorder) kinds() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var kinds []string
	for _, e := range w.events {
		kinds = append(kinds, e.Kind.String()+" "+e.Lock.Owner)
	}
	return kinds
}

func (w *eventRecorder) missedCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.missed
}

// waitForState waits until the recorded state is that of List.
func (w *eventRecorder) waitForState(s *Store, prefix string) {
	w.t.Helper()
	var list []stores.LockInfo
	var recorded state
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var err error
		if list, err = s.List(w.t.Context(), prefix); err != nil {
			w.t.Fatal(err)
		}
		w.mu.Lock()
		recorded = state{maps.Clone(w.state.held), maps.Clone(w.state.declared)}
		w.mu.Unlock()
		if reflect.DeepEqual(recorded, stateOf(list)) {
			return
		}
	}
	w.t.Fatalf("the events give %v, the list %v", recorded, stateOf(list))
}

func TestWatch_Events(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, other := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	req := request("a:\x00:k", "there before", time.Minute)
	req.Metadata = map[string]string{"host": "h"}
	if g, err := other.TryLock(t.Context(), req); err != nil || !g.Acquired {
		t.Fatal(g, err)
	}
	w := startWatch(t, s, "a:")
	waiter := startLock(t, other, request(req.Key, "waiter", time.Minute), 1)
	unlock(t, other, req.Key, "there before")
	waiter.granted()
	lock(t, other, "b:k", "of another prefix", time.Minute)
	if err := other.Revoke(t.Context(), req.Key, ""); err != nil {
		t.Fatal(err)
	}
	lock(t, other, req.Key, "short", 100*time.Millisecond)
	eventually(t, "the lock expires", func() bool { return len(w.kinds()) == 6 })
	want := "SNAPSHOT , RELEASED there before, ACQUIRED waiter, REVOKED waiter, ACQUIRED short, EXPIRED short"
	if got := strings.Join(w.kinds(), ", "); got != want {
		t.Errorf("events: %s", got)
	}
	w.waitForState(other, "a:")
	w.cancel()
	<-w.done
	if !errors.Is(w.err, context.Canceled) {
		t.Errorf("the watch ended with %v", w.err)
	}
}

func TestWatch_Declarations(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, other := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	declare(t, other, group, "g/short", time.Millisecond)
	w := startWatch(t, s, "g")
	lock(t, other, "g/k", "there before", time.Minute)
	declare(t, other, group, "g/k", time.Minute)
	waiter := startLock(t, s, request("g/k", "waiter", time.Minute), 1)
	withdraw(t, other, group, "g/k")
	waiter.granted()
	declare(t, s, "h/", "h/k", time.Minute)
	lockDeclared(t, other, "g/short", "short")
	time.Sleep(2 * time.Millisecond) // until the lock has expired unnoticed
	withdraw(t, s, group, "g/short")
	eventually(t, "the last withdrawal is reported", func() bool { return slices.Contains(w.kinds(), "WITHDRAWN ") })
	want := "SNAPSHOT , ACQUIRED there before, DECLARED there before, WITHDRAWN there before, ACQUIRED waiter, " +
		"ACQUIRED short, EXPIRED short, WITHDRAWN "
	if got := strings.Join(w.kinds(), ", "); got != want {
		t.Errorf("events: %s", got)
	}
	w.waitForState(other, "g")
}

func TestWatch_Renewal(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	w := startWatch(t, s, "")
	lock(t, s, "k", "o", 100*time.Millisecond)
	if _, err := s.Renew(t.Context(), request("k", "o", time.Minute)); err != nil {
		t.Fatal(err)
	}
	// This lock expires after the first one's original TTL.
	lock(t, s, "l", "p", 300*time.Millisecond)
	eventually(t, "the other lock expires", func() bool { return slices.Contains(w.kinds(), "EXPIRED p") })
	if slices.Contains(w.kinds(), "EXPIRED o") {
		t.Errorf("events: %v", w.kinds())
	}
	w.waitForState(s, "")
}

func TestWatch_LockRedisHolds(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	client.SetNX(t.Context(), "lock||k", "theirs", 300*time.Millisecond)
	client.SetNX(t.Context(), "lock||l", "first", 300*time.Millisecond)
	w := startWatch(t, s, "lock||")
	client.Set(t.Context(), "lock||l", "second", time.Minute)
	eventually(t, "both changes are reported", func() bool { return len(w.kinds()) == 4 })
	w.waitForState(s, "lock||")
}

// TestWatch_Missed loses events in different ways.
func TestWatch_Missed(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, other, client := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr), server.Client()
	for _, row := range []struct {
		name string
		lose func(w *eventRecorder)
	}{
		{"the connection is cut", func(*eventRecorder) {
			client.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub")
			lock(t, other, "k", "unseen", time.Minute)
		}},
		{"Redis loses the watcher's heartbeat", func(*eventRecorder) {
			client.Del(t.Context(), "mortise:watched")
			lock(t, other, "k", "unseen", time.Minute)
		}},
		{"all locks are deleted", func(*eventRecorder) {
			lock(t, other, "k", "o", time.Minute)
			client.FlushDB(t.Context())
			lock(t, other, "k2", "unseen", time.Minute)
		}},
		{"Redis is restarted", func(*eventRecorder) {
			lock(t, other, "k", "o", time.Minute)
			server.Stop()
			server.Start()
			lock(t, other, "k2", "unseen", time.Minute)
		}},
		{"the watcher is slow", func(w *eventRecorder) {
			w.pause <- struct{}{}
			for range eventBufferSize/2 + 10 {
				lock(t, other, "k", "o", time.Minute)
				unlock(t, other, "k", "o")
			}
			lock(t, other, "k", "unseen", time.Minute)
			<-w.pause
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			client.FlushDB(t.Context())
			w := startWatch(t, s, "k")
			row.lose(w)
			eventually(t, "the watcher receives a snapshot with Missed", func() bool { return w.missedCount() > 0 })
			w.waitForState(other, "k")
			lock(t, other, "k3", "seen again", time.Minute)
			w.waitForState(other, "k")
			w.cancel()
			<-w.done
		})
	}
}

// TestWatch_Concurrent starts watchers and cuts their connections while other goroutines
// make all kinds of calls.
func TestWatch_Concurrent(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	both := []*Store{openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)}
	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	for worker := range 6 {
		busy.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				s, key, owner := both[i%2], fmt.Sprint("k", rand.N(8)), fmt.Sprint(worker, " ", i)
				bound, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
				_, _ = s.LockAll(bound, stores.MultiRequest{
					Keys: []string{key, key + "'"}, Owner: owner, TTL: rand.N(30*time.Millisecond) + time.Millisecond, Wait: i%3 > 0,
				})
				cancel()
				switch rand.N(4) {
				case 0:
					_ = s.Unlock(ctx, key, owner)
				case 1:
					_ = s.Revoke(ctx, key+"'", "")
				case 2:
					_, _ = s.Renew(ctx, request(key, owner, 20*time.Millisecond))
				}
				declareAndWithdraw(ctx, s, key, owner)
			}
		})
	}
	client := server.Client()
	for range 5 {
		for _, s := range both {
			startWatch(t, s, "k")
		}
		client.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub")
	}
	last := startWatch(t, both[0], "k")
	eventually(t, "there are many events", func() bool {
		kinds := strings.Join(last.kinds(), ", ")
		return strings.Count(kinds, "ACQUIRED") >= 100 && strings.Count(kinds, "DECLARED") >= 10 && strings.Count(kinds, "WITHDRAWN") >= 10
	})
	stop()
	busy.Wait()
	last.waitForState(both[1], "k")
}

// declareAndWithdraw makes a random call for a declared lock.
func declareAndWithdraw(ctx context.Context, s *Store, key, owner string) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	switch rand.N(4) {
	case 0:
		_ = s.Declare(ctx, stores.Declaration{Group: "k", Key: key, TTL: rand.N(30*time.Millisecond) + time.Millisecond, Limit: 4})
	case 1:
		_ = s.Withdraw(ctx, "k", key)
	case 2:
		_, _ = s.Lock(ctx, stores.Request{Group: "k", Key: key, Owner: owner})
	}
}

func TestWatch_Databases(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	zero, one := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr, "redisDB", "1")
	w, other := startWatch(t, zero, ""), startWatch(t, one, "")
	lock(t, one, "k", "o1", time.Minute)
	lock(t, zero, "k", "o0", time.Minute)
	eventually(t, "each has an event", func() bool { return len(w.kinds()) == 2 && len(other.kinds()) == 2 })
	if got := w.kinds()[1]; got != "ACQUIRED o0" {
		t.Errorf("in database 0: %s", got)
	}
}

func TestWatch_NotPublishedWithoutWatchers(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	w := startWatch(t, s, "")
	lock(t, s, "k", "o", time.Minute)
	w.cancel()
	<-w.done
	eventually(t, "Redis forgets the watcher", func() bool { return client.Exists(t.Context(), "mortise:watched").Val() == 0 })
	client.ConfigResetStat(t.Context())
	unlock(t, s, "k", "o")
	if stats := client.Info(t.Context(), "commandstats").Val(); strings.Contains(stats, "cmdstat_publish") {
		t.Error("an unlock was published")
	}
	onlyTheTokenIsLeft(t, s)
}

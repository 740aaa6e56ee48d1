package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// waitAndHold waits three times for a lock, one of a group if group is not empty, and
// holds what it was granted until standard input ends.
func waitAndHold(addr, group, key string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := tryOpen(ctx, "redisHost", addr)
	if err != nil {
		return err
	}
	for i := range 3 {
		req := stores.Request{Group: group, Key: key, Owner: fmt.Sprint("child ", i)}
		if group == "" {
			req.TTL = time.Minute
		}
		go func() { _, _ = s.(*Store).Lock(ctx, req) }()
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// startProcess starts a process with three waiters.
func startProcess(t *testing.T, s *Store, addr, group, key string) *os.Process {
	t.Helper()
	before := waiters(t, s, key)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), waitOn+"="+addr, waitGroup+"="+group, waitKey+"="+key)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = stdin.Close()
		_ = cmd.Wait() // reports that it was killed
	})
	eventually(t, "the process waits", func() bool { return waiters(t, s, key) == before+3 })
	return cmd.Process
}

// stop stops a process, and returns when it has stopped.
func stop(t *testing.T, process *os.Process) {
	t.Helper()
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process has stopped", func() bool {
		state, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(process.Pid)).Output()
		return err == nil && strings.HasPrefix(string(state), "T")
	})
}

func TestLock_ProcessKilled(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, client := openStore(t, "redisHost", server.Addr), server.Client()
	lock(t, s, "k", "holder", time.Minute)
	process := startProcess(t, s, server.Addr, "", "k")
	w := startLock(t, s, request("k", "o", time.Minute), 4)
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "only our own connection is subscribed", func() bool {
		return strings.Count(client.Do(t.Context(), "CLIENT", "LIST", "TYPE", "pubsub").String(), "id=") == 1
	})
	unlock(t, s, "k", "holder")
	if owner := client.Get(t.Context(), "k").Val(); owner != "o" {
		t.Errorf("the lock was handed to %q", owner)
	}
	w.granted()
}

func TestLock_ProcessStopped(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	lock(t, s, "k", "holder", time.Minute)
	process := startProcess(t, s, server.Addr, "", "k")
	w := startLock(t, s, request("k", "o", time.Minute), 4)
	stop(t, process)
	freed := time.Now()
	unlock(t, s, "k", "holder")
	w.granted()
	// It takes about 900 ms. One after the other, the three waiters would take 2.7 s.
	if took := time.Since(freed); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestLock_ProcessContinues covers a claim that is late.
func TestLock_ProcessContinues(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	lock(t, s, "k", "holder", time.Minute)
	process := startProcess(t, s, server.Addr, "", "k")
	w := startLock(t, s, request("k", "o", time.Minute), 4)
	stop(t, process)
	unlock(t, s, "k", "holder")
	w.granted()
	_ = process.Signal(syscall.SIGCONT)
	eventually(t, "the three wait again", func() bool { return waiters(t, s, "k") == 3 })
	if owner := s.client.Get(t.Context(), "k").Val(); owner != "o" {
		t.Errorf("the holder is %q", owner)
	}
	last := startLock(t, s, request("k", "last", time.Minute), 4)
	unlock(t, s, "k", "o")
	eventually(t, "one of the three is served before the later waiter", func() bool {
		return strings.HasPrefix(s.client.Get(t.Context(), "k").Val(), "child")
	})
	if !last.isWaiting() {
		t.Error("the later waiter was served first")
	}
}

func TestLock_WaiterCutOff(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	proxy := servers.StartProxy(t, server.Addr)
	s, other := openStore(t, "redisHost", proxy.Addr), openStore(t, "redisHost", server.Addr)
	lock(t, other, "k", "holder", time.Minute)
	cutOff := start(t, other, 1, "k", func(ctx context.Context) (stores.Grant, error) {
		return s.Lock(ctx, request("k", "cut off", time.Minute))
	})
	w := startLock(t, other, request("k", "o", time.Minute), 2)
	reconnect := proxy.Cut()
	unlock(t, other, "k", "holder")
	last := w.granted()
	if !cutOff.isWaiting() {
		t.Error("the waiter that was cut off must still wait")
	}
	reconnect()
	eventually(t, "the waiter that was cut off is queued", func() bool { return waiters(t, other, "k") == 1 })
	unlock(t, other, "k", "o")
	if token := cutOff.granted(); token <= last {
		t.Errorf("token %d after %d", token, last)
	}
}

func TestLock_ConnectionsLost(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	both := []*Store{openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)}
	client := server.Client()
	lock(t, both[0], "k", "holder", time.Minute)
	all := make([]*lockCall, 8)
	for i := range all {
		all[i] = startLock(t, both[i%2], request("k", fmt.Sprint("o", i), time.Minute), i+1)
	}
	served := map[int]bool{}
	for holder := "holder"; len(served) < len(all); {
		for _, kind := range []string{"pubsub", "normal"} {
			if err := client.Do(t.Context(), "CLIENT", "KILL", "TYPE", kind).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := both[0].Unlock(t.Context(), "k", holder); err != nil && !errors.Is(err, stores.ErrNotHeld) {
			t.Fatal(err)
		}
		holder = ""
		eventually(t, "the next waiter is served", func() bool {
			for i, w := range all {
				if !served[i] && !w.isWaiting() {
					w.granted()
					served[i], holder = true, fmt.Sprint("o", i)
					return true
				}
			}
			return false
		})
	}
}

func TestLock_RedisRestarts(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	both := []*Store{openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)}
	last := lock(t, both[0], "k", "holder", time.Minute)
	all := make([]*lockCall, 4)
	for i := range all {
		all[i] = startLock(t, both[i%2], request("k", fmt.Sprint("o", i), time.Minute), i+1)
	}
	server.Stop()
	time.Sleep(300 * time.Millisecond) // so that a check fails
	server.Start()
	served := map[int]bool{}
	for len(served) < len(all) {
		eventually(t, "a waiter is served", func() bool {
			for i, w := range all {
				if served[i] || w.isWaiting() {
					continue
				}
				if token := w.granted(); token <= last {
					t.Errorf("token %d after %d", token, last)
				} else {
					last = token
				}
				served[i] = true
				unlock(t, both[0], "k", fmt.Sprint("o", i))
				return true
			}
			return false
		})
	}
	onlyTheTokenIsLeft(t, both[0])
}

// TestLock_RedisHangs stops Redis for longer than the timeouts of claims and calls, with
// a waiter that stays, one that leaves and one that arrives meanwhile.
func TestLock_RedisHangs(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	a, b := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	lock(t, a, "k", "holder", time.Minute)
	stays := startLock(t, a, request("k", "stays", time.Minute), 1)
	leaves := startLock(t, b, request("k", "leaves", time.Minute), 2)
	resume, paused := server.Pause(), time.Now()
	leaves.cancel()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := b.Lock(ctx, request("other", "late", time.Minute)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("lock while Redis hangs: %v", err)
	}
	if _, err := leaves.result(); !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled Lock returned %v", err)
	}
	time.Sleep(time.Until(paused.Add(2500 * time.Millisecond))) // beyond the timeouts
	resume()
	unlock(t, a, "k", "holder")
	stays.granted()
	unlock(t, a, "k", "stays")
	eventually(t, "the locks are free", func() bool {
		return a.client.Exists(t.Context(), "k", "other").Val() == 0
	})
	time.Sleep(2 * checkInterval) // a delayed request would arrive now
	if n := a.client.Exists(t.Context(), "k", "other", "mortise:queue:k", "mortise:queue:other").Val(); n != 0 {
		t.Error("a delayed request took effect after its call had ended")
	}
}

// TestLock_LostAnswers loses answers in each step of a wait: to the request, to the
// claim, to the leave.
func TestLock_LostAnswers(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	proxy := servers.StartProxy(t, server.Addr)
	s, direct := openStore(t, "redisHost", proxy.Addr, "redisMaxRetries", "20"), openStore(t, "redisHost", server.Addr)
	subscribed := func() bool {
		channel := wakePrefix + s.id
		return direct.client.PubSubNumSub(t.Context(), channel).Val()[channel] == 1
	}
	declare(t, direct, group, "g/k", time.Minute)
	for i, req := range []stores.Request{
		request("k", "", time.Minute), request("k", "", time.Minute), member("g/k", ""), member("g/k", ""),
	} {
		ask := func(owner string) func(context.Context) (stores.Grant, error) {
			req := req
			req.Owner = owner
			return func(ctx context.Context) (stores.Grant, error) { return s.Lock(ctx, req) }
		}
		n := i%2 + 1
		t.Run(fmt.Sprintf("%d answers about %q", n, req.Key), func(t *testing.T) {
			lose := func() {
				eventually(t, "the earlier answers are lost", proxy.Lost)
				proxy.LoseAnswers(n)
			}
			lose()
			if g, err := ask("free")(t.Context()); err != nil || !g.Acquired {
				t.Fatalf("a free lock: %+v, %v", g, err)
			}
			lose()
			granted := start(t, direct, 1, req.Key, ask("granted"))
			lose()
			left := start(t, direct, 2, req.Key, ask("left"))
			// Without a subscription, the waiter would be skipped.
			eventually(t, "the store is subscribed", func() bool { return proxy.Lost() && subscribed() })
			proxy.Delay(20 * time.Millisecond)
			unlock(t, direct, req.Key, "free")
			proxy.LoseAnswers(n) // to the claim, which follows the delayed message
			granted.granted()
			proxy.Delay(0)
			lose()
			left.cancel()
			if _, err := left.result(); !errors.Is(err, context.Canceled) {
				t.Errorf("the cancelled Lock returned %v", err)
			}
			eventually(t, "the queue is empty", func() bool { return waiters(t, direct, req.Key) == 0 })
			unlock(t, direct, req.Key, "granted")
			eventually(t, "the lock is free", func() bool { return direct.client.Exists(t.Context(), req.Key).Val() == 0 })
		})
	}
}

// TestRace_GrantOrCancelContext hands locks to waiters whose contexts end at the same
// time.
func TestRace_GrantOrCancelContext(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	both := []*Store{openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)}
	rounds := raceRounds(t, 2_500) // of each worker
	var granted, cancelled atomic.Int64
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() { // t.Fatal in a helper ends the other workers too
			key, s, other := fmt.Sprint("k", worker), both[worker%2], both[worker/2]
			for round := range rounds {
				lock(t, other, key, "holder", time.Minute)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() {
					_, err := s.Lock(ctx, request(key, "o", time.Minute))
					done <- err
				}()
				time.Sleep(rand.N(600 * time.Microsecond))
				unlocked := make(chan error, 1)
				go func() { unlocked <- other.Unlock(t.Context(), key, "holder") }()
				time.Sleep(rand.N(600 * time.Microsecond))
				cancel()
				err := errors.Join(<-unlocked, <-done)
				if err == nil {
					granted.Add(1)
					unlock(t, s, key, "o")
				} else if cancelled.Add(1); !errors.Is(err, context.Canceled) {
					t.Errorf("round %d: %v", round, err)
				}
				if owner := s.client.Get(t.Context(), key).Val(); owner != "" {
					t.Errorf("round %d: %q holds the lock", round, owner)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d granted, %d cancelled", granted.Load(), cancelled.Load())
	if granted.Load() == 0 || cancelled.Load() == 0 {
		t.Error("must have grants and cancellations")
	}
}

// keepAlive makes the last heartbeat of a store permanent until die is called, so that a
// slow machine does not take the store for dead.
func keepAlive(t *testing.T, s *Store) (die func()) {
	t.Helper()
	key := "mortise:process:" + s.id
	if !s.client.Persist(t.Context(), key).Val() {
		t.Fatal("a heartbeat must exist and expire")
	}
	return func() { s.client.PExpire(t.Context(), key, 850*time.Millisecond) }
}

func TestDeadlock_DeadWaiter(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s, dead := openStore(t, "redisHost", server.Addr), openStore(t, "redisHost", server.Addr)
	lock(t, s, "ours", "us", time.Minute)
	lock(t, s, "theirs", "them", time.Minute)
	req := stores.MultiRequest{Keys: []string{"ours"}, Owner: "dead", TTL: time.Minute, Holding: []string{"them"}}
	// The waiter sends no heartbeat.
	if _, err := dead.request(t.Context(), dead.newWaiter(req), true); err != nil {
		t.Fatal(err)
	}
	die := keepAlive(t, dead)
	ask := func(timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		_, err := s.Lock(ctx, request("theirs", "us too", time.Minute, "us"))
		return err
	}
	if err := ask(10 * time.Second); !errors.Is(err, stores.ErrDeadlock) {
		t.Errorf("while the other process is alive: %v", err)
	}
	die()
	eventually(t, "there is no deadlock", func() bool { return !errors.Is(ask(50*time.Millisecond), stores.ErrDeadlock) })
}

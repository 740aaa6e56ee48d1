// Clients that compete for one lock, and checks of what they were granted.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/client"
)

const (
	lockTTL   = time.Second           // the TTL of the lock that workers compete for
	holdTime  = 5 * time.Millisecond  // how long a worker holds it
	waitLimit = lockTTL + time.Second // the longest wait after the holder has crashed
	slack     = 500 * time.Millisecond
)

// workers are clients that compete for the same lock.
type workers struct {
	t       testing.TB
	clients []*client.Client
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	holdings []holding
}

// holding is one period in which a worker held the lock.
type holding struct {
	worker                string
	requested, begin, end time.Time // end is at most the end of the lease
	token                 uint64
}

// startWorkers starts n workers for each of the servers.
func startWorkers(t testing.TB, n int, at ...*mortise) *workers {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	c := &workers{t: t, cancel: stop}
	for i, m := range at {
		for j := range n {
			cl, err := client.Dial("unix://"+m.socket(), client.TTL(lockTTL))
			if err != nil {
				t.Fatal(err)
			}
			c.clients = append(c.clients, cl)
			c.running.Go(func() { c.run(ctx, fmt.Sprintf("%s%d", []string{"near", "far"}[i], j), cl) })
		}
	}
	return c
}

// run acquires and releases the lock until ctx ends. The client must recover from all
// faults.
func (c *workers) run(ctx context.Context, name string, cl *client.Client) {
	for ctx.Err() == nil {
		requested := time.Now()
		lease, err := cl.Lock(ctx, "report")
		if err != nil {
			if ctx.Err() == nil {
				c.t.Errorf("%s: Lock failed: %v", name, err)
			}
			return
		}
		s := holding{worker: name, requested: requested, begin: time.Now(), token: lease.Token()}
		select {
		case <-lease.Done():
		case <-time.After(holdTime):
		}
		s.end = earlier(time.Now(), lease.Expires())
		c.record(s)
		// Returns an error if the lock was lost, which record has considered.
		_ = lease.Unlock(ctx)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (c *workers) record(s holding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holdings = append(c.holdings, s)
}

// stopAll stops the workers, and returns their holdings in the order of time.
func (c *workers) stopAll() []holding {
	c.cancel()
	c.running.Wait()
	for _, cl := range c.clients {
		if err := cl.Close(); err != nil {
			c.t.Error(err)
		}
	}
	slices.SortFunc(c.holdings, func(a, b holding) int { return a.begin.Compare(b.begin) })
	return c.holdings
}

// checkExclusion returns an error if two workers held the lock at once, or if a token did
// not increase.
func checkExclusion(shifts []holding) (err error) {
	for i := 1; i < len(shifts); i++ {
		before, after := shifts[i-1], shifts[i]
		if after.begin.Before(before.end) {
			err = errors.Join(err, fmt.Errorf("%s was granted the lock %v before the end of the lease of %s", after.worker, before.end.Sub(after.begin), before.worker))
		}
		if after.token <= before.token {
			err = errors.Join(err, fmt.Errorf("%s was granted token %d after %s was granted %d", after.worker, after.token, before.worker, before.token))
		}
	}
	return err
}

// checkProgress returns an error unless each of the workers was granted the lock soon
// after the fault ended.
func checkProgress(shifts []holding, over time.Time, workers int) (err error) {
	first := map[string]time.Duration{}
	for _, s := range shifts {
		if _, ok := first[s.worker]; !ok && s.begin.After(over) {
			first[s.worker] = s.begin.Sub(over)
		}
	}
	for worker, d := range first {
		if d > waitLimit+slack {
			err = errors.Join(err, fmt.Errorf("%s must be granted the lock within %[3]v after the fault, took %[2]v", worker, d, waitLimit))
		}
	}
	if len(first) < workers {
		err = errors.Join(err, fmt.Errorf("%d of %d workers were granted the lock after the fault", len(first), workers))
	}
	return err
}

// checkUnaffected returns an error if a worker that the fault does not affect waited for
// long.
func checkUnaffected(shifts []holding, workers string) (err error) {
	for _, s := range shifts {
		if strings.HasPrefix(s.worker, workers) && s.begin.Sub(s.requested) > waitLimit+slack {
			err = errors.Join(err, fmt.Errorf("%s must be granted the lock within %[3]v, took %[2]v", s.worker, s.begin.Sub(s.requested), waitLimit))
		}
	}
	return err
}

func TestWorkerChecks(t *testing.T) {
	start := time.Now()
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	correct := []holding{
		{"near0", at(0), at(0), at(1), 1},
		{"far0", at(0), at(1), at(2), 2},
		{"near0", at(1), at(3), at(4), 3},
	}
	with := func(i int, change func(*holding)) []holding {
		shifts := slices.Clone(correct)
		change(&shifts[i])
		return shifts
	}
	for _, row := range []struct {
		name string
		err  error
		want string // a part of the error; empty if there must be none
	}{
		{"correct", errors.Join(checkExclusion(correct), checkProgress(correct, at(0.5), 2), checkUnaffected(correct, "far")), ""},
		{"two holders", checkExclusion(with(1, func(s *holding) { s.begin = at(0.9) })), "far0 was granted the lock 100ms before"},
		{"repeated token", checkExclusion(with(1, func(s *holding) { s.token = 1 })), "was granted token 1 after near0 was granted 1"},
		{"late grant", checkProgress(correct, at(0.1), 2), "after the fault, took 2.9s"},
		{"no grant", checkProgress(correct, at(2), 2), "1 of 2 workers"},
		{"long wait", checkUnaffected(with(1, func(s *holding) { s.requested = at(-2) }), "far"), "took 3s"},
	} {
		if row.want == "" && row.err != nil || row.want != "" && (row.err == nil || !strings.Contains(row.err.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", row.name, row.err, row.want)
		}
	}
}

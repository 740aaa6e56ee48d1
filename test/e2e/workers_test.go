// Users of the Go client who want one lock, again and again, and what may never happen to
// them.
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
	lockTTL   = time.Second           // the TTL of the lock that a crew wants
	holdTime  = 5 * time.Millisecond  // how long a worker keeps it
	waitLimit = lockTTL + time.Second // how long a waiter may be stuck if the holder dies
	slack     = 500 * time.Millisecond
)

// crew is workers who want the same lock.
type workers struct {
	t       testing.TB
	clients []*client.Client
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	holdings []holding
}

// shift is one time that a worker had the lock.
type holding struct {
	worker                string
	requested, begin, end time.Time // end is when it gave the lock back, or when its lease was over
	token                 uint64
}

// hire sets n workers to work at each of the Mortises.
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

// work takes and gives back the lock until ctx ends. Trouble on the way is the client's
// to get over.
func (c *workers) run(ctx context.Context, name string, cl *client.Client) {
	for ctx.Err() == nil {
		asked := time.Now()
		lease, err := cl.Lock(ctx, "report")
		if err != nil {
			if ctx.Err() == nil {
				c.t.Errorf("%s gave up: %v", name, err)
			}
			return
		}
		s := holding{worker: name, requested: asked, begin: time.Now(), token: lease.Token()}
		select {
		case <-lease.Done():
		case <-time.After(holdTime):
		}
		s.end = earlier(time.Now(), lease.Expires())
		c.record(s)
		_ = lease.Unlock(ctx) // a lost one is told so, which is no news here
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

// dismiss ends the work, and tells what there was of it in the order of time.
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

// excluded returns an error if two had the lock at once, or if a token did not grow.
func checkExclusion(shifts []holding) (err error) {
	for i := 1; i < len(shifts); i++ {
		before, after := shifts[i-1], shifts[i]
		if after.begin.Before(before.end) {
			err = errors.Join(err, fmt.Errorf("%s got the lock %v before the end of %s's", after.worker, before.end.Sub(after.begin), before.worker))
		}
		if after.token <= before.token {
			err = errors.Join(err, fmt.Errorf("%s got token %d after %s got %d", after.worker, after.token, before.worker, before.token))
		}
	}
	return err
}

// served returns an error unless each of the workers got the lock soon after the trouble
// was over.
func checkProgress(shifts []holding, over time.Time, workers int) (err error) {
	first := map[string]time.Duration{}
	for _, s := range shifts {
		if _, ok := first[s.worker]; !ok && s.begin.After(over) {
			first[s.worker] = s.begin.Sub(over)
		}
	}
	for worker, d := range first {
		if d > waitLimit+slack {
			err = errors.Join(err, fmt.Errorf("%s was stuck for %v after the trouble, the limit is %v", worker, d, waitLimit))
		}
	}
	if len(first) < workers {
		err = errors.Join(err, fmt.Errorf("%d of %d workers got the lock after the trouble", len(first), workers))
	}
	return err
}

// spared returns an error if a worker whom the trouble does not concern waited for long.
func checkUnaffected(shifts []holding, workers string) (err error) {
	for _, s := range shifts {
		if strings.HasPrefix(s.worker, workers) && s.begin.Sub(s.requested) > waitLimit+slack {
			err = errors.Join(err, fmt.Errorf("%s was stuck for %v, the limit is %v", s.worker, s.begin.Sub(s.requested), waitLimit))
		}
	}
	return err
}

func TestWorkerChecks(t *testing.T) {
	start := time.Now()
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	sound := []holding{
		{"near0", at(0), at(0), at(1), 1},
		{"far0", at(0), at(1), at(2), 2},
		{"near0", at(1), at(3), at(4), 3},
	}
	with := func(i int, change func(*holding)) []holding {
		shifts := slices.Clone(sound)
		change(&shifts[i])
		return shifts
	}
	for _, row := range []struct {
		name string
		err  error
		want string // in the error, or nothing if there is none
	}{
		{"a sound one", errors.Join(checkExclusion(sound), checkProgress(sound, at(0.5), 2), checkUnaffected(sound, "far")), ""},
		{"two at once", checkExclusion(with(1, func(s *holding) { s.begin = at(0.9) })), "far0 got the lock 100ms before"},
		{"a token twice", checkExclusion(with(1, func(s *holding) { s.token = 1 })), "got token 1 after near0 got 1"},
		{"one who was late", checkProgress(sound, at(0.1), 2), "near0 was stuck for 2.9s"},
		{"one who never came", checkProgress(sound, at(2), 2), "1 of 2 workers"},
		{"one who waited", checkUnaffected(with(1, func(s *holding) { s.requested = at(-2) }), "far"), "far0 was stuck for 3s"},
	} {
		if row.want == "" && row.err != nil || row.want != "" && (row.err == nil || !strings.Contains(row.err.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", row.name, row.err, row.want)
		}
	}
}

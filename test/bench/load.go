package main

// The load: callers that acquire and release locks as fast as they can.

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// path is a way to lock and unlock, or two calls that are compared with that.
type path struct {
	name string
	open func(ctx context.Context, l *env) (pair, error)
}

// pair acquires and releases the caller's lock.
type pair func(ctx context.Context, c caller) error

// callsPerPair is the number of calls in a pair.
const callsPerPair = 2

// caller is one of several concurrent callers. Each has its own lock.
type caller struct {
	resource string // the key that an app sends
	key      string // the key that daprd sends to a store
	owner    string
}

const (
	appID = "bench" // daprd's --app-id
	ttl   = 60      // of the callers' locks, in seconds
)

func newCaller(name string) caller {
	return caller{resource: name, key: "lock||" + appID + "||" + name, owner: uuid.NewString()}
}

// throughput is the side that counts the calls per second of the callers on the path.
func throughput(p path, callers int) side {
	return side{p.name, func(ctx context.Context, l *env) (sampler, error) {
		do, err := p.open(ctx, l)
		if err != nil {
			return nil, err
		}
		sample := func(ctx context.Context) ([]float64, error) {
			n, took, err := drive(ctx, l.interval(), callers, do)
			return []float64{callsPerPair * float64(n) / took.Seconds()}, err
		}
		_, _, err = drive(ctx, l.interval()/5, callers, do) // to warm up
		return sample, err
	}}
}

// drive runs the callers for the interval. It returns the number of pairs, and how long
// they took.
func drive(ctx context.Context, interval time.Duration, callers int, do pair) (int64, time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := time.AfterFunc(interval+time.Minute, func() { cancel(fmt.Errorf("a call hangs")) })
	defer limit.Stop()

	var (
		all   sync.WaitGroup
		pairs atomic.Int64
		over  atomic.Bool
	)
	defer time.AfterFunc(interval, func() { over.Store(true) }).Stop()
	start := time.Now()
	for i := range callers {
		all.Go(func() {
			// Calls contend for the mutex of a shared context.
			own, end := context.WithCancel(ctx)
			defer end()
			c, n := newCaller("order-"+strconv.Itoa(i)), int64(0)
			for ; !over.Load(); n++ {
				if err := do(own, c); err != nil {
					cancel(err)
					break
				}
			}
			pairs.Add(n)
		})
	}
	all.Wait()
	return pairs.Load(), time.Since(start), context.Cause(ctx)
}

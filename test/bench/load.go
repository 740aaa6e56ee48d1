package main

// The load: callers that take and give back locks as fast as they are answered.

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// path is a way to take a lock and give it back, or two calls that are compared with
// that.
type path struct {
	name string
	open func(ctx context.Context, l *lab) (pair, error)
}

// pair takes the caller's lock and gives it back.
type pair func(ctx context.Context, c caller) error

// callsPerPair is what a pair counts for.
const callsPerPair = 2

// caller is one of those who call at the same time. Each has a lock of its own.
type caller struct {
	resource string // as an app names it
	key      string // as daprd names it to a store
	owner    string
}

const (
	appID = "bench" // daprd's --app-id
	ttl   = 60      // of the callers' locks, in seconds
)

func newCaller(name string) caller {
	return caller{resource: name, key: "lock||" + appID + "||" + name, owner: uuid.NewString()}
}

// throughput is the side that counts the calls per second of so many callers on the path.
func throughput(p path, callers int) side {
	return side{p.name, func(ctx context.Context, l *lab) (sampler, error) {
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

// drive lets the callers go on for the interval. It returns how many pairs they did, and
// how long that took.
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
			own, end := context.WithCancel(ctx) // or all calls would queue up at one context's mutex
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

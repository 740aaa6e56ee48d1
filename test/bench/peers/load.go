package main

// The load: callers that take a lock, hold it and give it back, again and again.

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// load is what the callers do.
type load struct {
	callers   int
	callersOf []do // one for each caller
	hold      time.Duration
	grace     time.Duration
	room      *room // what all callers lock together; nil: each has a key of its own
}

// do takes the lock of the key, calls held, and gives the lock back.
type do func(ctx context.Context, key string, held func()) error

// result is what came out, in microseconds.
type result struct {
	Took     int64     `json:"took"`
	Waits    [][]int64 `json:"waits"`    // of each caller: from the call until it had the lock
	Stuck    []int64   `json:"stuck"`    // how long those have waited who had not got the lock at the end of the grace
	Failed   int64     `json:"failed"`   // how many callers left because a call of theirs failed
	Overlaps int64     `json:"overlaps"` // how often somebody who had the lock found somebody else inside
}

// run lets the callers go on for the interval, and then each until it has had the lock once more, or the grace is over.
func (l *load) run(ctx context.Context, interval time.Duration) result {
	ctx, cancel := context.WithTimeout(ctx, interval+l.grace)
	defer cancel()
	var (
		all    sync.WaitGroup
		mu     sync.Mutex
		over   atomic.Bool
		before int64
	)
	if l.room != nil {
		before = l.room.overlaps.Load()
	}
	defer time.AfterFunc(interval, func() { over.Store(true) }).Stop()
	start, r := time.Now(), result{Waits: make([][]int64, l.callers), Stuck: []int64{}}
	for i := range l.callers {
		all.Go(func() {
			waits, stuck, err := l.call(ctx, i, &over)
			mu.Lock()
			defer mu.Unlock()
			r.Waits[i] = waits
			switch {
			case err != nil && ctx.Err() != nil:
				r.Stuck = append(r.Stuck, stuck.Microseconds())
			case err != nil:
				r.Failed++
				fmt.Fprintln(os.Stderr, "peers:", err)
			}
		})
	}
	all.Wait()
	r.Took = time.Since(start).Microseconds()
	if l.room != nil {
		r.Overlaps = l.room.overlaps.Load() - before
	}
	return r
}

// call is what one caller does until it is over, or a call fails; then stuck is how long that took.
func (l *load) call(ctx context.Context, i int, over *atomic.Bool) (waits []int64, stuck time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx) // or all calls would queue up at one context's mutex
	defer cancel()
	key, waits := l.key(i), make([]int64, 0, 1024)
	for !over.Load() {
		start := time.Now()
		err := l.callersOf[i](ctx, key, func() {
			waits = append(waits, time.Since(start).Microseconds())
			l.inside()
		})
		if err != nil {
			return waits, time.Since(start), err
		}
	}
	return waits, 0, nil
}

func (l *load) key(i int) string {
	if l.room != nil {
		return "bench-all"
	}
	return fmt.Sprintf("bench-%d", i)
}

// inside is what a caller does with the lock.
func (l *load) inside() {
	if l.room != nil {
		l.room.enter()
		defer l.room.leave()
	}
	if l.hold > 0 {
		time.Sleep(l.hold)
	}
}

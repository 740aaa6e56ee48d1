package main

// The load: callers that repeatedly acquire, hold and release a lock.

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// load describes what the callers do.
type load struct {
	locks []do   // one for each caller
	hold  func() // called while a caller holds the lock
	grace time.Duration
	// Counts holders of the common key; nil: each caller has its own key.
	counter *holderCounter
}

// do acquires the lock of the key, calls held, and releases the lock.
type do func(ctx context.Context, key string, held func()) error

// result is the result of a run. Times are in microseconds.
type result struct {
	Took  int64     `json:"took"`  // from the start to the last release
	Held  int64     `json:"held"`  // sum of the times for which the lock was held
	Waits [][]int64 `json:"waits"` // by caller: from each call to its grant
	// Waits of callers without a grant after the grace.
	Stuck []int64 `json:"stuck"`
	// Number of callers that stopped after a failed call.
	Failed   int64 `json:"failed"`
	Overlaps int64 `json:"overlaps"` // how often a holder found another holder
}

// callerResult is the result of one caller.
type callerResult struct {
	waits        []int64 // for each grant, in microseconds
	held         time.Duration
	lastUnlock   time.Time     // the end of the last successful call
	lastDuration time.Duration // the duration of the last call
	err          error         // of the call that failed
	stuck        bool          // it waited until the end of the grace
}

// run runs the callers for the interval, and then each until its current call returns or
// the grace ends.
func (l *load) run(ctx context.Context, interval time.Duration) result {
	ctx, cancel := context.WithTimeout(ctx, interval+l.grace)
	defer cancel()
	var all sync.WaitGroup
	var over atomic.Bool
	defer time.AfterFunc(interval, func() { over.Store(true) }).Stop()
	results := make([]callerResult, len(l.locks))
	start, overlaps := time.Now(), l.overlaps()
	for i := range results {
		all.Go(func() { results[i] = l.runCaller(ctx, i, &over) })
	}
	all.Wait()
	r := result{Overlaps: l.overlaps() - overlaps}
	for _, t := range results {
		r.add(t)
		r.Took = max(r.Took, t.lastUnlock.Sub(start).Microseconds())
	}
	return r
}

// add adds the result of a caller.
func (r *result) add(t callerResult) {
	r.Waits = append(r.Waits, t.waits)
	r.Held += t.held.Microseconds()
	switch {
	case t.err == nil:
	case t.stuck:
		r.Stuck = append(r.Stuck, t.lastDuration.Microseconds())
	default:
		r.Failed++
		fmt.Fprintln(os.Stderr, "peers:", t.err)
	}
}

// runCaller runs one caller until over is set or a call fails.
func (l *load) runCaller(ctx context.Context, i int, over *atomic.Bool) (t callerResult) {
	// Calls contend for the mutex of a shared context.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	key := l.key(i)
	for !over.Load() && t.err == nil {
		start := time.Now()
		t.err = l.locks[i](ctx, key, func() {
			granted := time.Now()
			t.waits = append(t.waits, granted.Sub(start).Microseconds())
			l.holdLock()
			t.held += time.Since(granted)
		})
		t.lastDuration = time.Since(start)
		if t.err == nil {
			t.lastUnlock = start.Add(t.lastDuration)
		}
	}
	t.stuck = t.err != nil && ctx.Err() != nil
	return t
}

func (l *load) key(i int) string {
	if l.counter != nil {
		return "bench-all"
	}
	return fmt.Sprintf("bench-%d", i)
}

// overlaps returns how often a caller of this process has found another holder until now.
func (l *load) overlaps() int64 {
	if l.counter == nil {
		return 0
	}
	return l.counter.overlaps.Load()
}

// holdLock holds the lock and counts the holder.
func (l *load) holdLock() {
	if l.counter != nil {
		l.counter.enter()
		defer l.counter.leave()
	}
	l.hold()
}

// pause pauses exactly for d. time.Sleep is up to a millisecond late if responses arrive
// meanwhile, because the network poller, which waits for both, has a resolution of
// milliseconds. And Linux wakes a thread up to 50 µs late by default, its timer slack.
func pause(d time.Duration) {
	// If setting the slack of this thread fails, the pause is a little longer.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	left := syscall.NsecToTimespec(d.Nanoseconds())
	for left.Nano() > 0 && syscall.Nanosleep(&left, &left) == syscall.EINTR {
	}
}

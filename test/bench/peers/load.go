package main

// The load: callers that take a lock, hold it and give it back, again and again.

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

// load is what the callers do.
type load struct {
	locks []do   // one for each caller
	hold  func() // what they do with the lock
	grace time.Duration
	room  *room // what all callers lock together; nil: each has a key of its own
}

// do takes the lock of the key, calls held, and gives the lock back.
type do func(ctx context.Context, key string, held func()) error

// result is what came out, in microseconds.
type result struct {
	Took     int64     `json:"took"`     // until the last who had the lock had given it back
	Held     int64     `json:"held"`     // how long somebody had the lock, taken together
	Waits    [][]int64 `json:"waits"`    // of each caller: from the call until it had the lock
	Stuck    []int64   `json:"stuck"`    // how long those have waited who had not got the lock at the end of the grace
	Failed   int64     `json:"failed"`   // how many callers left because a call of theirs failed
	Overlaps int64     `json:"overlaps"` // how often somebody who had the lock found somebody else inside
}

// turns are what one caller went through.
type turns struct {
	waits []int64 // for each grant, in microseconds
	held  time.Duration
	until time.Time     // when the last call ended well
	last  time.Duration // how long the call took that failed
	err   error         // why
	stuck bool          // it waited until the time for all was over
}

// run lets the callers go on for the interval, and then each until it has had the lock
// once more, or the grace is over.
func (l *load) run(ctx context.Context, interval time.Duration) result {
	ctx, cancel := context.WithTimeout(ctx, interval+l.grace)
	defer cancel()
	var all sync.WaitGroup
	var over atomic.Bool
	defer time.AfterFunc(interval, func() { over.Store(true) }).Stop()
	each := make([]turns, len(l.locks))
	start, overlaps := time.Now(), l.overlaps()
	for i := range each {
		all.Go(func() { each[i] = l.call(ctx, i, &over) })
	}
	all.Wait()
	r := result{Overlaps: l.overlaps() - overlaps}
	for _, t := range each {
		r.add(t)
		r.Took = max(r.Took, t.until.Sub(start).Microseconds())
	}
	return r
}

// add puts in what a caller went through.
func (r *result) add(t turns) {
	r.Waits = append(r.Waits, t.waits)
	r.Held += t.held.Microseconds()
	switch {
	case t.err == nil:
	case t.stuck:
		r.Stuck = append(r.Stuck, t.last.Microseconds())
	default:
		r.Failed++
		fmt.Fprintln(os.Stderr, "peers:", t.err)
	}
}

// call is what one caller does until it is over, or a call fails.
func (l *load) call(ctx context.Context, i int, over *atomic.Bool) (t turns) {
	ctx, cancel := context.WithCancel(ctx) // or all calls would queue up at one context's mutex
	defer cancel()
	key := l.key(i)
	for !over.Load() && t.err == nil {
		start := time.Now()
		t.err = l.locks[i](ctx, key, func() {
			granted := time.Now()
			t.waits = append(t.waits, granted.Sub(start).Microseconds())
			l.inside()
			t.held += time.Since(granted)
		})
		t.last = time.Since(start)
		if t.err == nil {
			t.until = start.Add(t.last)
		}
	}
	t.stuck = t.err != nil && ctx.Err() != nil
	return t
}

func (l *load) key(i int) string {
	if l.room != nil {
		return "bench-all"
	}
	return fmt.Sprintf("bench-%d", i)
}

// overlaps is how often somebody here has found somebody else inside until now.
func (l *load) overlaps() int64 {
	if l.room == nil {
		return 0
	}
	return l.room.overlaps.Load()
}

// inside is what a caller does with the lock.
func (l *load) inside() {
	if l.room != nil {
		l.room.enter()
		defer l.room.leave()
	}
	l.hold()
}

// pause pauses for as long as it says. time.Sleep is up to a millisecond late if answers
// come in meanwhile, because the network poller, which waits for both, counts in
// milliseconds. And Linux wakes a thread up to 50 µs late, its timer slack, if not told
// otherwise.
func pause(d time.Duration) {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // of this thread; without it the pause is a little longer
	left := syscall.NsecToTimespec(d.Nanoseconds())
	for left.Nano() > 0 && syscall.Nanosleep(&left, &left) == syscall.EINTR {
	}
}

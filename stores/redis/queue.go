package redis

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

const (
	wakePrefix = "mortise:wake:" // and a Store's id: the channel by which its waiters are woken

	// checkPeriod is how often a Store with waiters tells Redis that it lives, and looks
	// whether a push was lost. Redis believes it dead after 850 ms.
	checkPeriod = 200 * time.Millisecond
	// checkBatch is how many waiters one script looks after; other clients are served
	// between the scripts.
	checkBatch = 256
	// lingering is how long a Store without waiters goes on to listen. It is shorter than
	// silence.
	lingering = 2 * time.Second
	// tellingTime is how long a Store tries to tell Redis that a waiter has left.
	tellingTime = time.Minute
)

// queue looks after those who wait in one Store. While there are any, it runs two
// goroutines: one listens for pushes, the other checks what pushes may have missed.
type queue struct {
	store *Store

	mu      sync.Mutex
	waiters map[string]*waiter // who wait, by id
	left    map[string]*waiter // who have left, and Redis does not know
	ready   chan struct{}      // closed when pushes are heard, or cannot be; nil while nothing runs
	next    time.Time          // of the next check
	sooner  chan struct{}      // tells that next is sooner than it was
}

func newQueue(s *Store) *queue {
	return &queue{
		store:   s,
		waiters: map[string]*waiter{},
		left:    map[string]*waiter{},
		sooner:  make(chan struct{}, 1),
	}
}

// listening tells whether pushes are heard.
func (q *queue) listening() bool {
	q.mu.Lock()
	ready := q.ready
	q.mu.Unlock()
	select {
	case <-ready:
		return true
	default:
		return false
	}
}

// add makes the waiter known, and returns when pushes can reach it or are seen to be
// impossible.
func (q *queue) add(ctx context.Context, w *waiter) error {
	q.mu.Lock()
	q.waiters[w.id] = w
	ready := q.start()
	q.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return q.store.over(ctx)
	case <-q.store.closing:
		return stores.ErrClosed
	}
}

// start has the goroutines run. The caller has locked mu, and entered the Store.
func (q *queue) start() (ready <-chan struct{}) {
	if q.ready == nil {
		q.ready = make(chan struct{})
		q.next = time.Now().Add(checkPeriod)
		ready := q.ready
		hears := sync.OnceFunc(func() { close(ready) })
		q.store.calls.Go(func() { q.keep(hears) })
	}
	return q.ready
}

func (q *queue) remove(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.waiters, w.id)
}

// tellLater has Redis told that the waiter has left, as soon as it can be.
func (q *queue) tellLater(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.leftAt = time.Now()
	q.left[w.id] = w
	q.start()
}

// expect has the next check done when a lock expires, in so many milliseconds. Negative
// ones mean nothing.
func (q *queue) expect(expiry int64) {
	if expiry >= 0 {
		q.checkAt(time.Now().Add(time.Duration(expiry+1) * time.Millisecond))
	}
}

// checkAt has the next check done at a time, if it is not sooner anyway.
func (q *queue) checkAt(at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if at.Before(q.next) {
		q.next = at
		poke(q.sooner)
	}
}

// keep listens and checks until the queue is closed or has been empty for a while. It
// calls hears when pushes are heard or seen to be impossible.
func (q *queue) keep(hears func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var listening sync.WaitGroup
	listening.Go(func() { q.listener(hears).run(ctx) })
	defer listening.Wait()
	defer cancel()
	timer := time.NewTimer(checkPeriod)
	defer timer.Stop()
	for busy := time.Now(); ; {
		select {
		case <-q.store.closing:
			return
		case <-q.sooner:
		case <-timer.C:
			if q.check(ctx) {
				busy = time.Now()
			} else if time.Since(busy) > lingering && q.stop() {
				return
			}
		}
		timer.Reset(q.untilNext())
	}
}

// listener returns one that wakes waiters. Each time it begins to hear, everything is
// checked.
func (q *queue) listener(hears func()) *listener {
	return &listener{
		client:     q.store.client,
		channels:   []string{wakePrefix + q.store.id},
		subscribed: func() { hears(); q.checkAt(time.Now()) },
		heard:      func(_, id string) { q.wake(id) },
		failed:     func(error) { hears() },
	}
}

// stop tells that nothing runs any more, unless somebody has come.
func (q *queue) stop() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiters)+len(q.left) > 0 {
		return false
	}
	q.ready = nil
	return true
}

func (q *queue) untilNext() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return time.Until(q.next)
}

// wake tells the waiter to ask, if it is there still.
func (q *queue) wake(id string) {
	q.mu.Lock()
	w := q.waiters[id]
	q.mu.Unlock()
	if w != nil {
		poke(w.wake)
	}
}

// grant tells the waiter, if it is there still, what was handed to it. Otherwise it is
// leaving and gives that back.
func (q *queue) grant(id string, h handed) {
	q.store.saw(h.token)
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.waiters[id]
	if w == nil {
		return
	}
	select {
	case <-w.handed: // what it has not seen yet has ended
	default:
	}
	w.handed <- h // which has room: mu is held
}

// check refreshes all waiters, and wakes those that were served, whose data Redis has
// lost, or whose key holds data that is not a lock. It plans the next check, and returns
// false if no waiter is left.
func (q *queue) check(ctx context.Context) bool {
	q.mu.Lock()
	waiters := slices.Collect(maps.Values(q.waiters))
	left := slices.Collect(maps.Values(q.left))
	q.next = time.Now().Add(checkPeriod)
	q.mu.Unlock()
	for batch := range slices.Chunk(waiters, checkBatch) {
		if err := q.checkBatch(ctx, batch); err != nil {
			break // the next check is soon
		}
	}
	q.tellLeft(ctx, left)
	return len(waiters)+len(left) > 0
}

func (q *queue) checkBatch(ctx context.Context, waiters []*waiter) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	keys, ids := map[string]bool{}, make([]string, 0, len(waiters))
	for _, w := range waiters {
		ids = append(ids, w.id)
		for _, key := range w.Keys {
			keys[key] = true
		}
	}
	args := append([]any{len(keys)}, anys(slices.Collect(maps.Keys(keys)))...)
	answer, err := q.store.run(ctx, checkScript, nil, append(args, anys(ids)...)...).Int64Slice()
	if refuses(err) {
		for _, w := range waiters {
			poke(w.wake) // to meet the same refusal, if it is about this waiter
		}
	}
	if err != nil {
		return err
	}
	q.expect(answer[0])
	for _, i := range answer[1:] {
		poke(waiters[i].wake)
	}
	return nil
}

// tellLeft tells Redis who have left, and forgets those who are told or no longer worth
// trying.
func (q *queue) tellLeft(ctx context.Context, left []*waiter) {
	var err error
	for _, w := range left {
		if err == nil { // else Redis does not answer, and the others can wait
			err = q.store.tellLeft(ctx, w)
		}
		if err == nil || time.Since(w.leftAt) > tellingTime {
			q.mu.Lock()
			delete(q.left, w.id)
			q.mu.Unlock()
		}
	}
}

// poke sends to a channel that holds one message, unless it has one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

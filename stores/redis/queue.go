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
	checkInterval = 200 * time.Millisecond
	// checkBatch is how many waiters one script looks after; other clients are served
	// between the scripts.
	checkBatchSize = 256
	// lingering is how long a Store without waiters goes on to listen. It is shorter than
	// silence.
	idleTimeout = 2 * time.Second
	// tellingTime is how long a Store tries to tell Redis that a waiter has left.
	leaveRetryTime = time.Minute
)

// queue looks after those who wait in one Store. While there are any, it runs two
// goroutines: one listens for pushes, the other checks what pushes may have missed.
type queue struct {
	store *Store

	mu          sync.Mutex
	waiters     map[string]*waiter // who wait, by id
	leaving     map[string]*waiter // who have left, and Redis does not know
	ready       chan struct{}      // closed when pushes are heard, or cannot be; nil while nothing runs
	nextCheck   time.Time          // of the next check
	rescheduled chan struct{}      // tells that next is sooner than it was
}

func newQueue(s *Store) *queue {
	return &queue{
		store:       s,
		waiters:     map[string]*waiter{},
		leaving:     map[string]*waiter{},
		rescheduled: make(chan struct{}, 1),
	}
}

// listening tells whether pushes are heard.
func (q *queue) isListening() bool {
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
	ready := q.ensureRunning()
	q.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return q.store.contextError(ctx)
	case <-q.store.closing:
		return stores.ErrClosed
	}
}

// start has the goroutines run. The caller has locked mu, and entered the Store.
func (q *queue) ensureRunning() (ready <-chan struct{}) {
	if q.ready == nil {
		q.ready = make(chan struct{})
		q.nextCheck = time.Now().Add(checkInterval)
		ready := q.ready
		hears := sync.OnceFunc(func() { close(ready) })
		q.store.calls.Go(func() { q.run(hears) })
	}
	return q.ready
}

func (q *queue) remove(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.waiters, w.id)
}

// tellLater has Redis told that the waiter has left, as soon as it can be.
func (q *queue) leaveLater(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.leftAt = time.Now()
	q.leaving[w.id] = w
	q.ensureRunning()
}

// expect has the next check done when a lock expires, in so many milliseconds. Negative
// ones mean nothing.
func (q *queue) checkAfterExpiry(expiry int64) {
	if expiry >= 0 {
		q.checkAt(time.Now().Add(time.Duration(expiry+1) * time.Millisecond))
	}
}

// checkAt has the next check done at a time, if it is not sooner anyway.
func (q *queue) checkAt(at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if at.Before(q.nextCheck) {
		q.nextCheck = at
		notify(q.rescheduled)
	}
}

// keep listens and checks until the queue is closed or has been empty for a while. It
// calls hears when pushes are heard or seen to be impossible.
func (q *queue) run(hears func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var listening sync.WaitGroup
	listening.Go(func() { q.newListener(hears).run(ctx) })
	defer listening.Wait()
	defer cancel()
	timer := time.NewTimer(checkInterval)
	defer timer.Stop()
	for busy := time.Now(); ; {
		select {
		case <-q.store.closing:
			return
		case <-q.rescheduled:
		case <-timer.C:
			if q.check(ctx) {
				busy = time.Now()
			} else if time.Since(busy) > idleTimeout && q.stopIfIdle() {
				return
			}
		}
		timer.Reset(q.untilNextCheck())
	}
}

// listener returns one that wakes waiters. Each time it begins to hear, everything is
// checked.
func (q *queue) newListener(hears func()) *listener {
	return &listener{
		client:       q.store.client,
		channels:     []string{wakePrefix + q.store.id},
		onSubscribed: func() { hears(); q.checkAt(time.Now()) },
		onMessage:    func(_, id string) { q.wake(id) },
		onError:      func(error) { hears() },
	}
}

// stop tells that nothing runs any more, unless somebody has come.
func (q *queue) stopIfIdle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiters)+len(q.leaving) > 0 {
		return false
	}
	q.ready = nil
	return true
}

func (q *queue) untilNextCheck() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return time.Until(q.nextCheck)
}

// wake tells the waiter to ask, if it is there still.
func (q *queue) wake(id string) {
	q.mu.Lock()
	w := q.waiters[id]
	q.mu.Unlock()
	if w != nil {
		notify(w.wake)
	}
}

// grant tells the waiter, if it is there still, what was handed to it. Otherwise it is
// leaving and gives that back.
func (q *queue) deliver(id string, h handoff) {
	q.store.observeToken(h.token)
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.waiters[id]
	if w == nil {
		return
	}
	select {
	case <-w.handoffs: // what it has not seen yet has ended
	default:
	}
	w.handoffs <- h // which has room: mu is held
}

// check refreshes all waiters, and wakes those that were served, whose data Redis has
// lost, or whose key holds data that is not a lock. It plans the next check, and returns
// false if no waiter is left.
func (q *queue) check(ctx context.Context) bool {
	q.mu.Lock()
	waiters := slices.Collect(maps.Values(q.waiters))
	left := slices.Collect(maps.Values(q.leaving))
	q.nextCheck = time.Now().Add(checkInterval)
	q.mu.Unlock()
	for batch := range slices.Chunk(waiters, checkBatchSize) {
		if err := q.checkBatch(ctx, batch); err != nil {
			break // the next check is soon
		}
	}
	q.sendLeaves(ctx, left)
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
	args := append([]any{len(keys)}, toAny(slices.Collect(maps.Keys(keys)))...)
	answer, err := q.store.runScript(ctx, checkScript, nil, append(args, toAny(ids)...)...).Int64Slice()
	if isPermanent(err) {
		for _, w := range waiters {
			notify(w.wake) // to meet the same refusal, if it is about this waiter
		}
	}
	if err != nil {
		return err
	}
	q.checkAfterExpiry(answer[0])
	for _, i := range answer[1:] {
		notify(waiters[i].wake)
	}
	return nil
}

// tellLeft tells Redis who have left, and forgets those who are told or no longer worth
// trying.
func (q *queue) sendLeaves(ctx context.Context, left []*waiter) {
	var err error
	for _, w := range left {
		if err == nil { // else Redis does not answer, and the others can wait
			err = q.store.sendLeave(ctx, w)
		}
		if err == nil || time.Since(w.leftAt) > leaveRetryTime {
			q.mu.Lock()
			delete(q.leaving, w.id)
			q.mu.Unlock()
		}
	}
}

// poke sends to a channel that holds one message, unless it has one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

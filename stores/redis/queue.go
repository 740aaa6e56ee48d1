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
	// wakePrefix and a Store's id are the channel by which its waiters are woken.
	wakePrefix = "mortise:wake:"

	// checkInterval is how often a Store with waiters sends its heartbeat and checks
	// whether it has missed a message. Redis takes it for dead after 850 ms.
	checkInterval = 200 * time.Millisecond
	// checkBatchSize is how many waiters one script checks; Redis serves other clients
	// between the scripts.
	checkBatchSize = 256
	// idleTimeout is how long a Store without waiters stays subscribed. It is shorter
	// than receiveTimeout.
	idleTimeout = 2 * time.Second
	// leaveRetryTime is how long a Store retries to remove a waiter that has left.
	leaveRetryTime = time.Minute
)

// queue holds the waiters of one Store. While there are any, it runs two goroutines: one
// receives messages, the other checks for missed ones.
type queue struct {
	store *Store

	mu          sync.Mutex
	waiters     map[string]*waiter // by id
	leaving     map[string]*waiter // that have left while Redis was unreachable, by id
	ready       chan struct{}      // closed when subscribed or denied; nil if idle
	nextCheck   time.Time
	rescheduled chan struct{} // has a message if nextCheck is earlier than it was
}

func newQueue(s *Store) *queue {
	return &queue{
		store:       s,
		waiters:     map[string]*waiter{},
		leaving:     map[string]*waiter{},
		rescheduled: make(chan struct{}, 1),
	}
}

// isListening reports whether the Store receives messages.
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

// add registers the waiter, and returns when messages can reach it or the subscription
// has failed.
func (q *queue) add(ctx context.Context, w *waiter) error {
	q.mu.Lock()
	q.waiters[w.id] = w
	ready := q.ensureRunning()
	q.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return q.store.waitErr(ctx)
	case <-q.store.calls.Closing():
		return stores.ErrClosed
	}
}

// ensureRunning starts the goroutines if necessary. The caller has locked mu and started
// a call of the Store.
func (q *queue) ensureRunning() (ready <-chan struct{}) {
	if q.ready == nil {
		q.ready = make(chan struct{})
		q.nextCheck = time.Now().Add(checkInterval)
		ready := q.ready
		onReady := sync.OnceFunc(func() { close(ready) })
		q.store.calls.Go(func() { q.run(onReady) })
	}
	return q.ready
}

func (q *queue) remove(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.waiters, w.id)
}

// leaveLater removes a waiter that has left from its queues as soon as Redis answers.
func (q *queue) leaveLater(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.leftAt = time.Now()
	q.leaving[w.id] = w
	q.ensureRunning()
}

// checkAfterExpiry schedules a check for when a lock expires, in this many milliseconds.
// A negative number is ignored.
func (q *queue) checkAfterExpiry(expiry int64) {
	if expiry >= 0 {
		q.checkAt(time.Now().Add(time.Duration(expiry+1) * time.Millisecond))
	}
}

// checkAt moves the next check to a time, if it is not earlier already.
func (q *queue) checkAt(at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if at.Before(q.nextCheck) {
		q.nextCheck = at
		notify(q.rescheduled)
	}
}

// run receives messages and checks until the Store is closed or has had no waiters for a
// while. It calls onReady when the subscription works or has failed.
func (q *queue) run(onReady func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var listening sync.WaitGroup
	listening.Go(func() { q.newListener(onReady).run(ctx) })
	defer listening.Wait()
	defer cancel()
	timer := time.NewTimer(checkInterval)
	defer timer.Stop()
	for busy := time.Now(); ; {
		select {
		case <-q.store.calls.Closing():
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

// newListener returns a listener that wakes waiters. Each time it has subscribed, all
// waiters are checked.
func (q *queue) newListener(onReady func()) *listener {
	return &listener{
		client:       q.store.client,
		channels:     []string{wakePrefix + q.store.id},
		onSubscribed: func() { onReady(); q.checkAt(time.Now()) },
		onMessage:    func(_, id string) { q.wake(id) },
		onError:      func(error) { onReady() },
	}
}

// stopIfIdle marks the goroutines as stopped and returns true, unless there are waiters.
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

// wake lets the waiter ask Redis, if it still waits.
func (q *queue) wake(id string) {
	q.mu.Lock()
	w := q.waiters[id]
	q.mu.Unlock()
	if w != nil {
		notify(w.wake)
	}
}

// deliver passes a grant to the waiter, if it still waits. Otherwise it is leaving, which
// releases the grant.
func (q *queue) deliver(id string, h handoff) {
	q.store.observeToken(h.token)
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.waiters[id]
	if w == nil {
		return
	}
	select {
	case <-w.handoffs: // an earlier grant has expired
	default:
	}
	w.handoffs <- h // never blocks: only holders of mu send
}

// check refreshes all waiters, and wakes those that were served, whose data Redis has
// lost, or whose key holds data that is not a lock. It schedules the next check, and
// returns false if there are no waiters.
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
			notify(w.wake) // each asks itself: the error may concern another waiter
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

// sendLeaves removes waiters that have left from their queues in Redis, and forgets those
// that are removed or have expired there.
func (q *queue) sendLeaves(ctx context.Context, left []*waiter) {
	var err error
	for _, w := range left {
		if err == nil { // else Redis does not answer, and the next check tries again
			err = q.store.sendLeave(ctx, w)
		}
		if err == nil || time.Since(w.leftAt) > leaveRetryTime {
			q.mu.Lock()
			delete(q.leaving, w.id)
			q.mu.Unlock()
		}
	}
}

// notify sends to a channel with room for one message, unless a message is there already.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

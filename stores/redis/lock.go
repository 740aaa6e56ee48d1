package redis

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

const (
	// callTimeout bounds the requests on behalf of a waiter. It is longer than a lock
	// waits to be claimed.
	callTimeout = time.Second
	// leftNoteTTL is how long Redis keeps a note that a waiter has left of which a
	// request may be delayed.
	leftNoteTTL = 10 * time.Second
)

// waiter is a request for locks that waits, or may have to.
type waiter struct {
	stores.MultiRequest
	group       string        // as in stores.Request; with it, an answer sets the TTL
	declared    int64         // number of the declaration, 0 until an answer sets it
	id          string        // of the request, unique
	arrival     int64         // the place in the queues, 0 until the waiter is queued
	wake        chan struct{} // has a message if the waiter has to ask Redis
	handoffs    chan handoff  // grants in the answers to another request
	lastNumber  uint64        // the last number drawn when Redis queued the waiter
	unanswered  bool          // the last request has had no answer
	maybeResent bool          // a request may have been sent twice and the first be late
	leftAt      time.Time     // when Lock returned while Redis was unreachable
}

// handoff is a grant in the answer to another request.
type handoff struct {
	token uint64
	ttl   int64     // milliseconds
	start time.Time // the locks were granted after it
}

// Lock implements [stores.Waiter].
func (s *Store) Lock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	g, err := s.wait(ctx, s.newSingleWaiter(req))
	return g, wrap(ctx, "lock", req.Key, err)
}

// LockAll implements [stores.MultiLocker]. Errors name the first of the keys.
func (s *Store) LockAll(ctx context.Context, req stores.MultiRequest) (g stores.Grant, err error) {
	if w := s.newWaiter(req); req.Wait {
		g, err = s.wait(ctx, w)
	} else {
		g, err = s.request(ctx, w, false)
	}
	if isDenied(err) {
		err = fmt.Errorf("for one of the keys %q: %w", req.Keys, err)
	}
	return g, wrap(ctx, "lock all", req.Keys[0], err)
}

func (s *Store) newWaiter(req stores.MultiRequest) *waiter {
	return &waiter{MultiRequest: req, id: s.newRequestID(), wake: make(chan struct{}, 1), handoffs: make(chan handoff, 1)}
}

func (s *Store) newSingleWaiter(req stores.Request) *waiter {
	w := s.newWaiter(stores.MultiRequest{
		Keys: []string{req.Key}, Owner: req.Owner, TTL: req.TTL, Metadata: req.Metadata, Holding: req.Holding,
	})
	w.group = req.Group
	return w
}

// wait takes the locks, and waits for them until ctx ends. Until the Store's subscription
// works it only tries, because a waiter that does not receive messages is skipped. A
// grant that comes when ctx has ended is released.
func (s *Store) wait(ctx context.Context, w *waiter) (stores.Grant, error) {
	if err := s.calls.Begin(); err != nil {
		return stores.Grant{}, err
	}
	defer s.calls.Done()
	if contextErr(ctx) != nil {
		return stores.Grant{}, contextErr(ctx)
	}
	g, err := s.enqueue(ctx, w)
	for err == nil && !g.Acquired {
		select {
		case <-ctx.Done():
			err = s.waitErr(ctx)
		case <-s.calls.Closing():
			err = stores.ErrClosed
		case h := <-w.handoffs:
			// Else the grant has expired, and a repeated request queued the waiter again.
			if h.token > w.lastNumber {
				g = w.grant(h)
			}
		case <-w.wake:
			g, err = s.claim(ctx, w)
		}
	}
	s.queue.remove(w)
	if err == nil {
		err = contextErr(ctx)
	}
	if err != nil {
		s.leave(ctx, w)
		return stores.Grant{}, err
	}
	return g, nil
}

// enqueue sends the first request. An error ends the call: until a waiter is queued it
// has no place to lose.
func (s *Store) enqueue(ctx context.Context, w *waiter) (stores.Grant, error) {
	if !s.queue.isListening() {
		if g, err := s.request(ctx, w, false); err != nil || g.Acquired {
			return g, err
		}
	}
	if err := s.queue.add(ctx, w); err != nil {
		return stores.Grant{}, err
	}
	return s.request(ctx, w, true)
}

// waitErr returns the error of a wait whose ctx has ended, with the reason if Redis does
// not answer.
func (s *Store) waitErr(ctx context.Context) error {
	return s.outage.wrap(ctx.Err(), ctx.Err(), nil)
}

// claim takes the locks that were handed to the waiter, or returns why the wait is over.
// If Redis does not answer, or returns a transient error, the wait goes on: the next
// check finds a lock to claim or a lost place in the queue, and wakes the waiter again.
func (s *Store) claim(ctx context.Context, w *waiter) (stores.Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	g, err := s.request(ctx, w, true)
	if w.unanswered && !isPermanent(err) {
		err = nil
	}
	return g, err
}

// request takes the locks if they are available or were handed to the waiter. Otherwise,
// if wait is set, it queues the waiter.
func (s *Store) request(ctx context.Context, w *waiter, wait bool) (stores.Grant, error) {
	start := time.Now()
	w.unanswered = true
	args := []any{w.id, w.Owner, millis(w.TTL), encode(w.Metadata), wait, w.arrival, w.group, w.declared}
	answer, err := s.runScript(ctx, lockScript, w.Keys, appendStrings(args, w.Holding)...).Int64Slice()
	w.maybeResent = w.maybeResent || time.Since(start) >= s.retryDelay
	if err != nil {
		return stores.Grant{}, err
	}
	w.unanswered = false
	if len(answer) < 3 {
		return stores.Grant{}, cmp.Or(scriptError(answer[0]), fmt.Errorf("the script's answer must have at least 3 values, got %v", answer))
	}
	if len(answer) == 6 {
		w.arrival, w.lastNumber = answer[3], uint64(answer[5])
		s.observeToken(uint64(w.arrival))
		s.queue.checkAfterExpiry(answer[4])
	}
	token, ttl := uint64(answer[0]), answer[2]
	w.declared = answer[1]
	if token == 0 {
		return stores.Grant{}, nil
	}
	s.observeToken(token)
	return w.grant(handoff{token, ttl, start}), nil
}

// grant returns the Grant for a handoff.
func (w *waiter) grant(h handoff) stores.Grant {
	if w.group != "" {
		w.TTL = time.Duration(h.ttl) * time.Millisecond
	}
	return stores.Grant{Acquired: true, Token: h.token, TTL: w.TTL, Expires: h.start.Add(w.TTL)}
}

// leave removes the waiter from the queues, or releases what it was granted meanwhile. If
// Redis does not answer, the queue tries again later.
func (s *Store) leave(ctx context.Context, w *waiter) {
	if err := s.sendLeave(context.WithoutCancel(ctx), w); err != nil {
		s.queue.leaveLater(w)
	}
}

func (s *Store) sendLeave(ctx context.Context, w *waiter) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	noteTTL := int64(0)
	if w.unanswered || w.maybeResent {
		noteTTL = millis(leftNoteTTL)
	}
	return s.runScript(ctx, leaveScript, w.Keys, appendStrings([]any{w.id, w.Owner, noteTTL, w.group}, w.Holding)...).Err()
}

// newRequestID returns a unique id of a request. It begins with the Store's.
func (s *Store) newRequestID() string {
	return s.id + "-" + strconv.FormatUint(s.requestCount.Add(1), 36)
}

func toAny(values []string) []any { return appendStrings(nil, values) }

func appendStrings(args []any, values []string) []any {
	for _, value := range values {
		args = append(args, value)
	}
	return args
}

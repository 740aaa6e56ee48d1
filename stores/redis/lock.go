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
	// callTimeout bounds what is asked on behalf of one who waits. It is longer than a
	// lock waits to be claimed.
	callTimeout = time.Second
	// remembered is how long Redis remembers that a waiter has left of whom a request may
	// be on its way still.
	leftNoteTTL = 10 * time.Second
)

// waiter is a request for locks that waits, or may have to.
type waiter struct {
	stores.MultiRequest
	group       string        // as in stores.Request; TTL is zero until an answer tells it then
	declared    int64         // the number of the declaration that the request is for; 0 until an answer tells it
	id          string        // of the request, unique
	arrival     int64         // by which the waiter stands in its queues; 0 until it does
	wake        chan struct{} // tells to ask again
	handoffs    chan handoff  // what was handed over without asking
	lastNumber  uint64        // the last number drawn when an answer said that the waiter waits
	unanswered  bool          // the last request has had no answer
	maybeResent bool          // a request may have been sent twice, and the first may be on its way still
	leftAt      time.Time     // when Lock returned although Redis could not be told
}

// handed is what an answer tells of locks that went to a waiter.
type handoff struct {
	token uint64
	ttl   int64     // milliseconds
	start time.Time // they were handed over after it
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

// await takes the locks, and waits for them as long as ctx lasts. While the first of a
// Store's waiters does not hear Redis yet it only tries, because who is not heard is
// passed over. What is granted when ctx has ended is given back.
func (s *Store) wait(ctx context.Context, w *waiter) (stores.Grant, error) {
	if err := s.start(); err != nil {
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
			err = s.contextError(ctx)
		case <-s.closing:
			err = stores.ErrClosed
		case h := <-w.handoffs:
			if h.token > w.lastNumber { // else it has ended, and a repeated request brought the waiter back
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

// begin asks for the first time. Its failure is the call's: until a waiter stands in the
// queue it has nothing to lose.
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

// over returns the end of ctx, and why Redis does not answer, if it does not.
func (s *Store) contextError(ctx context.Context) error {
	return s.outage.wrap(ctx.Err(), ctx.Err(), nil)
}

// claim takes what was handed to the waiter, or learns that the wait is over. A Redis
// that does not answer, or with an error that time can mend, does not end it: if there
// was something to claim, or if the place in the queue was lost, the next check finds out
// and wakes the waiter again.
func (s *Store) claim(ctx context.Context, w *waiter) (stores.Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	g, err := s.request(ctx, w, true)
	if w.unanswered && !isPermanent(err) {
		err = nil
	}
	return g, err
}

// ask takes the locks if they can be had, or were handed to the waiter. Otherwise the
// waiter stands in the queues afterwards, if it shall wait.
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

// grant is what was handed to the waiter, as its caller is told.
func (w *waiter) grant(h handoff) stores.Grant {
	if w.group != "" {
		w.TTL = time.Duration(h.ttl) * time.Millisecond
	}
	return stores.Grant{Acquired: true, Token: h.token, TTL: w.TTL, Expires: h.start.Add(w.TTL)}
}

// leave takes the waiter out of the queues, or gives back what it was granted meanwhile.
// If Redis cannot be told now, the queue tells it later.
func (s *Store) leave(ctx context.Context, w *waiter) {
	if err := s.sendLeave(context.WithoutCancel(ctx), w); err != nil {
		s.queue.leaveLater(w)
	}
}

func (s *Store) sendLeave(ctx context.Context, w *waiter) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	remember := int64(0)
	if w.unanswered || w.maybeResent {
		remember = millis(leftNoteTTL)
	}
	return s.runScript(ctx, leaveScript, w.Keys, appendStrings([]any{w.id, w.Owner, remember, w.group}, w.Holding)...).Err()
}

// newRequest returns an id that no other request has. It begins with the Store's.
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

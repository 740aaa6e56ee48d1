package rtm

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"testing"
	"time"
)

// ttl returns the TTL of ann's locks. A second is the minimum. Outside of bubbles it is
// longer, because loaded machines delay goroutines.
func (p target) ttl() time.Duration {
	if p.redis == nil {
		return time.Second
	}
	return 2 * time.Second
}

// shortTTLs returns metadata with which all locks have this TTL.
func (p target) shortTTLs() map[string]string {
	return map[string]string{"rtmMinTTL": p.ttl().String(), "rtmMaxTTL": p.ttl().String(), "rtmDefaultTTL": p.ttl().String()}
}

// maxExpiryDelay bounds the time from a lock's expiry to its release with a real Redis.
// In a bubble there is no delay.
const maxExpiryDelay = time.Second

// presence is an env in which ann acquires frontDesk and dora subscribes to its channel.
type presence struct {
	*env
	ttl           time.Duration
	ann           user
	bob           user
	dora          *eventRecorder
	desk          lock      // as in events of ann's session
	acquiredAfter time.Time // time before ann acquired it
}

func newPresence(w *env) *presence {
	s := &presence{env: w, ttl: w.target.ttl(), ann: w.user("ann"), bob: w.user("bob")}
	s.ann.must(setLock, frontDesk)
	s.dora, _ = w.user("dora").subscribe(frontDesk)
	return s
}

// acquire acquires the lock for ann.
func (s *presence) acquire() {
	s.Helper()
	s.acquiredAfter = time.Now()
	rev := s.ann.must(acquireLock, frontDesk).rev
	s.desk = s.annsLock("house", messageType, "front desk", rev)
	s.checkChannelEvents("ACQUIRED ann")
}

// annsLock returns a lock that ann holds.
func (s *presence) annsLock(channel string, kind channelType, name string, rev uint64) lock {
	return lock{channel, kind, name, "ann", uint32(s.ttl / time.Second), rev}
}

// waitForBob acquires the lock for bob, and starts a call of u that waits for it.
func (s *presence) waitForBob(u user) *pendingCall {
	s.Helper()
	s.bob.must(acquireLock, frontDesk)
	p := u.start(acquireLock, frontDesk.withRetry())
	s.waitForWaiters(frontDesk, 1)
	return p
}

// checkChannelEvents checks dora's events since the previous call.
func (s *presence) checkChannelEvents(want string) {
	s.Helper()
	if got := describe(s.dora.channelEvents()); got != want {
		s.Fatalf("events of the channel = %q, want %q", got, want)
	}
}

// checkKept waits for n TTLs, and checks that ann still holds the lock by the same grant.
func (s *presence) checkKept(n int) {
	s.Helper()
	time.Sleep(time.Duration(n) * s.ttl)
	l, _ := s.dora.findLock(frontDesk)
	if l.owner != "ann" || l.rev != s.desk.rev {
		s.Errorf("lock after %d TTLs = %+v, want %+v", n, l, s.desk)
	}
	s.checkChannelEvents("")
}

// checkExpired waits until ann's lock is released, and checks that this happens a TTL
// after since.
func (s *presence) checkExpired(since time.Time) {
	s.Helper()
	e := s.dora.next()
	if got := e.String(); got != "RELEASED ann" || e.rev != s.desk.rev {
		s.Errorf("event of the channel = %s with the token %d, want RELEASED ann with %d", got, e.rev, s.desk.rev)
	}
	s.checkTTLPassed(since)
	if got := s.dora.state(frontDesk); got != "free" {
		s.Errorf("state of the released lock = %s, want free", got)
	}
}

// checkTTLPassed checks that a TTL has passed since then, and not much more.
func (s *presence) checkTTLPassed(since time.Time) {
	s.Helper()
	most := s.ttl
	if s.redis != nil {
		most += maxExpiryDelay
	}
	if took := time.Since(since); took < s.ttl || took > most {
		s.Errorf("release after %v, want %v to %v", took, s.ttl, most)
	}
}

// openSession opens a session of ann, and checks the locks of its snapshot.
func (s *presence) openSession(held []lock, want ...lock) *eventRecorder {
	s.Helper()
	session, got := s.ann.openSession(held...)
	if !slices.Equal(got, want) {
		s.Errorf("snapshot of the session = %+v, want %+v", got, want)
	}
	return session
}

// checkSessionEvents checks a session's events since the previous call, and returns them.
func (s *presence) checkSessionEvents(session *eventRecorder, want string) []event {
	s.Helper()
	events := session.sessionEvents()
	if got := describe(events); got != want {
		s.Errorf("events of the session = %q, want %q", got, want)
	}
	return events
}

// checkSessionEnded waits until a session ends, and checks its code, which is 0 if it
// ends without an error.
func (s *presence) checkSessionEnded(session *eventRecorder, code int32) {
	s.Helper()
	err := session.waitEnd()
	if code == 0 && errors.Is(err, io.EOF) {
		return
	}
	if got := s.codeOf("session", err); got != code {
		s.Errorf("code of the session = %d, want %d: %v", got, code, err)
	}
}

// checkKeepAlive calls keepAlive for ann, and checks the locks that it reports as held
// and as expired.
func (s *presence) checkKeepAlive(held, want, expired []lock) {
	s.Helper()
	got := s.ann.must(keepAlive, request{store: component, held: held})
	slices.SortFunc(got.locks, compareLocks)
	if !slices.Equal(got.locks, want) || !slices.EqualFunc(got.expired, expired, sameGrant) {
		s.Errorf("keepAlive = %+v, expired %+v, want %+v, expired %+v", got.locks, got.expired, want, expired)
	}
}

// compareLocks orders locks by channel type, channel and name.
func compareLocks(a, b lock) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.channel, b.channel), cmp.Compare(a.name, b.name))
}

// sameGrant reports whether both are the same lock with the same owner and token.
func sameGrant(a, b lock) bool {
	return compareLocks(a, b) == 0 && a.owner == b.owner && a.rev == b.rev
}

func TestPresence(t *testing.T) {
	t.Parallel()
	forEachTarget(t, func(t *testing.T, p target) {
		for _, row := range presenceCases {
			t.Run(row.name, func(t *testing.T) {
				p.skipVariants(t, row.name)
				if p.redis != nil {
					t.Parallel() // these scenarios mostly wait for TTLs
				}
				p.withEnv(t, p.shortTTLs(), func(w *env) { row.run(newPresence(w)) })
			})
		}
	})
}

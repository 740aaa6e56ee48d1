package rtm

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"testing"
	"time"
)

// ttl is how long ann keeps her locks while she is offline. Nothing shorter than a second
// is possible; where time goes on by itself it is more, because machines stall.
func (p target) ttl() time.Duration {
	if p.redis == nil {
		return time.Second
	}
	return 2 * time.Second
}

// short is the metadata by which locks have this TTL whatever is asked for.
func (p target) shortTTLs() map[string]string {
	return map[string]string{"rtmMinTTL": p.ttl().String(), "rtmMaxTTL": p.ttl().String(), "rtmDefaultTTL": p.ttl().String()}
}

// late is how much later than its TTL a lock may be released in a real Redis. In a bubble
// it is released to the nanosecond.
const maxExpiryDelay = time.Second

// stay is a time in which ann holds the front desk, and dora sees what becomes of it.
type presence struct {
	*env
	ttl           time.Duration
	ann           user
	bob           user
	dora          *eventRecorder
	desk          lock      // as ann's session tells of it
	acquiredAfter time.Time // before she took it
}

func newPresence(w *env) *presence {
	s := &presence{env: w, ttl: w.target.ttl(), ann: w.user("ann"), bob: w.user("bob")}
	s.ann.must(setLock, frontDesk)
	s.dora, _ = w.user("dora").subscribe(frontDesk)
	return s
}

// take lets ann acquire the lock.
func (s *presence) acquire() {
	s.Helper()
	s.acquiredAfter = time.Now()
	rev := s.ann.must(acquireLock, frontDesk).rev
	s.desk = s.annsLock("house", messageType, "front desk", rev)
	s.checkChannelEvents("ACQUIRED ann")
}

// anns is a lock that ann holds.
func (s *presence) annsLock(channel string, kind channelType, name string, rev uint64) lock {
	return lock{channel, kind, name, "ann", uint32(s.ttl / time.Second), rev}
}

// waitForBob lets a user wait for the lock, which bob takes.
func (s *presence) waitForBob(u user) *pendingCall {
	s.Helper()
	s.bob.must(acquireLock, frontDesk)
	p := u.start(acquireLock, frontDesk.withRetry())
	s.waitForWaiters(frontDesk, 1)
	return p
}

// sees checks that dora sees this next, and nothing else.
func (s *presence) checkChannelEvents(want string) {
	s.Helper()
	if got := describe(s.dora.channelEvents()); got != want {
		s.Fatalf("the channel sees %q, want %q", got, want)
	}
}

// kept checks that the lock is ann's as it was, for n TTLs from now.
func (s *presence) checkKept(n int) {
	s.Helper()
	time.Sleep(time.Duration(n) * s.ttl)
	l, _ := s.dora.findLock(frontDesk)
	if l.owner != "ann" || l.rev != s.desk.rev {
		s.Errorf("after %d TTLs the lock is %+v, want %+v", n, l, s.desk)
	}
	s.checkChannelEvents("")
}

// lost checks that ann's lock is released when its TTL has passed since then.
func (s *presence) checkExpired(since time.Time) {
	s.Helper()
	e := s.dora.next()
	if got := e.String(); got != "RELEASED ann" || e.rev != s.desk.rev {
		s.Errorf("the channel sees %s with the token %d, want RELEASED ann with %d", got, e.rev, s.desk.rev)
	}
	s.checkTTLPassed(since)
	if got := s.dora.state(frontDesk); got != "free" {
		s.Errorf("the lock is released, and %s", got)
	}
}

// passed checks that a TTL has passed since then, and not much more.
func (s *presence) checkTTLPassed(since time.Time) {
	s.Helper()
	most := s.ttl
	if s.redis != nil {
		most += maxExpiryDelay
	}
	if took := time.Since(since); took < s.ttl || took > most {
		s.Errorf("it took %v, with a TTL of %v", took, s.ttl)
	}
}

// online lets ann be online, and checks which locks she is told that she holds.
func (s *presence) openSession(held []lock, want ...lock) *eventRecorder {
	s.Helper()
	session, got := s.ann.openSession(held...)
	if !slices.Equal(got, want) {
		s.Errorf("the session begins with %+v, want %+v", got, want)
	}
	return session
}

// heard checks what a session was told since the last time.
func (s *presence) checkSessionEvents(session *eventRecorder, want string) []event {
	s.Helper()
	events := session.sessionEvents()
	if got := describe(events); got != want {
		s.Errorf("the session hears %q, want %q", got, want)
	}
	return events
}

// ended checks how a session has ended: by itself if there is no code.
func (s *presence) checkSessionEnded(session *eventRecorder, code int32) {
	s.Helper()
	err := session.waitEnd()
	if code == 0 && errors.Is(err, io.EOF) {
		return
	}
	if got := s.codeOf("session", err); got != code {
		s.Errorf("the session ends with %d, want %d: %v", got, code, err)
	}
}

// alive lets ann be alive, and checks what she is told that she holds and has lost.
func (s *presence) checkKeepAlive(held, want, expired []lock) {
	s.Helper()
	got := s.ann.must(keepAlive, request{store: component, held: held})
	slices.SortFunc(got.locks, compareLocks)
	if !slices.Equal(got.locks, want) || !slices.EqualFunc(got.expired, expired, sameGrant) {
		s.Errorf("keepAlive tells %+v and as expired %+v, want %+v and %+v", got.locks, got.expired, want, expired)
	}
}

// byPlace orders locks by type of channel, channel and name.
func compareLocks(a, b lock) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.channel, b.channel), cmp.Compare(a.name, b.name))
}

// sameGrant tells whether two locks are one, and were given by one grant.
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
				p.withEnv(t, p.shortTTLs(), func(w *env) { row.play(newPresence(w)) })
			})
		}
	})
}

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
func (p place) ttl() time.Duration {
	if p.redis == nil {
		return time.Second
	}
	return 2 * time.Second
}

// short is the metadata by which locks have this TTL whatever is asked for.
func (p place) short() map[string]string {
	return map[string]string{"rtmMinTTL": p.ttl().String(), "rtmMaxTTL": p.ttl().String(), "rtmDefaultTTL": p.ttl().String()}
}

// late is how much later than its TTL a lock may be released in a real Redis. In a bubble
// it is released to the nanosecond.
const late = time.Second

// stay is a time in which ann holds the front desk, and dora sees what becomes of it.
type stay struct {
	*world
	ttl  time.Duration
	ann  user
	bob  user
	dora *witness
	desk lock      // as ann's session tells of it
	then time.Time // before she took it
}

func begin(w *world) *stay {
	s := &stay{world: w, ttl: w.place.ttl(), ann: w.user("ann"), bob: w.user("bob")}
	s.ann.must(setLock, frontDesk)
	s.dora, _ = w.user("dora").subscribe(frontDesk)
	return s
}

// take lets ann acquire the lock.
func (s *stay) take() {
	s.Helper()
	s.then = time.Now()
	rev := s.ann.must(acquireLock, frontDesk).rev
	s.desk = s.anns("house", messageType, "front desk", rev)
	s.sees("ACQUIRED ann")
}

// anns is a lock that ann holds.
func (s *stay) anns(channel string, kind channelType, name string, rev uint64) lock {
	return lock{channel, kind, name, "ann", uint32(s.ttl / time.Second), rev}
}

// waitForBob lets a user wait for the lock, which bob takes.
func (s *stay) waitForBob(u user) *pending {
	s.Helper()
	s.bob.must(acquireLock, frontDesk)
	p := u.start(acquireLock, frontDesk.waiting())
	s.queue(frontDesk, 1)
	return p
}

// sees checks that dora sees this next, and nothing else.
func (s *stay) sees(want string) {
	s.Helper()
	if got := sentence(s.dora.seen()); got != want {
		s.Fatalf("the channel sees %q, want %q", got, want)
	}
}

// kept checks that the lock is ann's as it was, for n TTLs from now.
func (s *stay) kept(n int) {
	s.Helper()
	time.Sleep(time.Duration(n) * s.ttl)
	l, _ := s.dora.find(frontDesk)
	if l.owner != "ann" || l.rev != s.desk.rev {
		s.Errorf("after %d TTLs the lock is %+v, want %+v", n, l, s.desk)
	}
	s.sees("")
}

// lost checks that ann's lock is released when its TTL has passed since then.
func (s *stay) lost(since time.Time) {
	s.Helper()
	e := s.dora.next()
	if got := e.String(); got != "RELEASED ann" || e.rev != s.desk.rev {
		s.Errorf("the channel sees %s with the token %d, want RELEASED ann with %d", got, e.rev, s.desk.rev)
	}
	s.passed(since)
	if got := s.dora.state(frontDesk); got != "free" {
		s.Errorf("the lock is released, and %s", got)
	}
}

// passed checks that a TTL has passed since then, and not much more.
func (s *stay) passed(since time.Time) {
	s.Helper()
	most := s.ttl
	if s.redis != nil {
		most += late
	}
	if took := time.Since(since); took < s.ttl || took > most {
		s.Errorf("it took %v, with a TTL of %v", took, s.ttl)
	}
}

// online lets ann be online, and checks which locks she is told that she holds.
func (s *stay) online(held []lock, want ...lock) *witness {
	s.Helper()
	session, got := s.ann.online(held...)
	if !slices.Equal(got, want) {
		s.Errorf("the session begins with %+v, want %+v", got, want)
	}
	return session
}

// heard checks what a session was told since the last time.
func (s *stay) heard(session *witness, want string) []event {
	s.Helper()
	events := session.heard()
	if got := sentence(events); got != want {
		s.Errorf("the session hears %q, want %q", got, want)
	}
	return events
}

// ended checks how a session has ended: by itself if there is no code.
func (s *stay) ended(session *witness, code int32) {
	s.Helper()
	err := session.end()
	if code == 0 && errors.Is(err, io.EOF) {
		return
	}
	if got := s.codeOf("session", err); got != code {
		s.Errorf("the session ends with %d, want %d: %v", got, code, err)
	}
}

// alive lets ann be alive, and checks what she is told that she holds and has lost.
func (s *stay) alive(held, want, expired []lock) {
	s.Helper()
	got := s.ann.must(keepAlive, ask{store: component, held: held})
	slices.SortFunc(got.locks, byPlace)
	if !slices.Equal(got.locks, want) || !slices.EqualFunc(got.expired, expired, sameGrant) {
		s.Errorf("keepAlive tells %+v and as expired %+v, want %+v and %+v", got.locks, got.expired, want, expired)
	}
}

// byPlace orders locks by type of channel, channel and name.
func byPlace(a, b lock) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.channel, b.channel), cmp.Compare(a.name, b.name))
}

// sameGrant tells whether two locks are one, and were given by one grant.
func sameGrant(a, b lock) bool { return byPlace(a, b) == 0 && a.owner == b.owner && a.rev == b.rev }

func TestLocksOfUsersWhoComeAndGo(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		inParallel := func(t *testing.T) {
			if p.redis != nil {
				t.Parallel() // they wait most of the time
			}
		}
		inParallel(t)
		for _, row := range stays {
			t.Run(row.name, func(t *testing.T) {
				inParallel(t)
				p.alone(t, p.short(), func(w *world) { row.play(begin(w)) })
			})
		}
	})
}

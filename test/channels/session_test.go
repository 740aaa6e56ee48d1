package channels

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"testing"
	"time"
)

// ttl is how long ann keeps her locks while she is offline. Nothing shorter is possible.
const ttl = time.Second

// shortly lets locks have that TTL.
var shortly = map[string]string{"rtmMinTTL": "1s", "rtmDefaultTTL": "1s"}

// late is how much later than its TTL a lock may be released.
const late = time.Second

// stay is a time in which ann holds the front door, and dora sees what becomes of it.
type stay struct {
	*world
	ann  user
	bob  user
	dora *witness
	door lock      // as ann's session tells of it
	then time.Time // before she took it
}

// door is the front door with the short TTL.
var shortDoor = ask{store: component, channel: "house", kind: messageType, lock: "front door", ttl: 1}

func begin(w *world) *stay {
	s := &stay{world: w, ann: w.user("ann"), bob: w.user("bob")}
	s.ann.must(setLock, shortDoor)
	s.dora, _ = w.user("dora").subscribe(shortDoor)
	return s
}

// take lets ann acquire the lock.
func (s *stay) take() {
	s.Helper()
	s.then = time.Now()
	rev := s.ann.must(acquireLock, shortDoor).rev
	s.door = lock{"house", messageType, "front door", "ann", 1, rev}
	s.sees("ACQUIRED ann")
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
	time.Sleep(time.Duration(n) * ttl)
	l, _ := s.dora.find(shortDoor)
	if l.owner != "ann" || l.rev != s.door.rev {
		s.Errorf("after %d TTLs the lock is %+v, want %+v", n, l, s.door)
	}
	s.sees("")
}

// lost checks that ann's lock is released when its TTL has passed since then.
func (s *stay) lost(since time.Time) {
	s.Helper()
	e := s.dora.next()
	if got := e.String(); got != "RELEASED ann" || e.rev != s.door.rev {
		s.Errorf("the channel sees %s with the token %d, want RELEASED ann with %d", got, e.rev, s.door.rev)
	}
	if took := time.Since(since); took < ttl || took > ttl+late {
		s.Errorf("the lock was released after %v, with a TTL of %v", took, ttl)
	}
	if got := s.dora.state(shortDoor); got != "free" {
		s.Errorf("the lock is released, and %s", got)
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

// stays are what can become of the locks of a user who comes and goes.
var stays = []struct {
	name string
	play func(s *stay)
}{
	{"who is online keeps what she takes for many TTLs", func(s *stay) {
		session := s.online(nil)
		s.take()
		s.kept(4)
		s.heard(session, "ACQUIRED ann")
	}},
	{"who comes online keeps what she has taken before", func(s *stay) {
		s.take()
		session := s.online(nil, s.door)
		s.kept(4)
		s.heard(session, "")
	}},
	{"who is never online loses a lock a TTL after she took it", func(s *stay) {
		s.take()
		s.lost(s.then)
	}},
	{"who goes loses a lock a TTL later, and anybody can take it", func(s *stay) {
		session := s.online(nil)
		s.take()
		s.kept(2)
		since := time.Now()
		session.leave()
		s.lost(since)
		if got := s.ann.code(releaseLock, shortDoor); got != -14006 {
			s.Errorf("releaseLock after the loss ends with %d", got)
		}
		if got := s.bob.must(acquireLock, shortDoor); got.rev <= s.door.rev {
			s.Errorf("bob's token is %d, after ann's %d", got.rev, s.door.rev)
		}
	}},
	{"who waits gets a lock a TTL after its owner has gone", func(s *stay) {
		session := s.online(nil)
		s.take()
		p := s.bob.start(acquireLock, shortDoor.waiting())
		s.queue(shortDoor, 1)
		since := time.Now()
		session.leave()
		if got := p.end(); got != 0 || time.Since(since) < ttl || time.Since(since) > ttl+late {
			s.Errorf("bob's waiting ends after %v with %d", time.Since(since), got)
		}
		s.bob.must(removeLock, shortDoor)
		s.sees("RELEASED ann, ACQUIRED bob, REMOVED bob")
	}},
	{"who comes back in time keeps her lock, and nobody is told", func(s *stay) {
		session := s.online(nil)
		s.take()
		s.kept(2)
		session.leave()
		time.Sleep(ttl / 2)
		session = s.online([]lock{s.door}, s.door)
		s.kept(3)
		s.heard(session, "")
	}},
	{"who comes and goes all the time keeps her lock", func(s *stay) {
		s.take()
		for range 5 {
			session := s.online([]lock{s.door}, s.door)
			s.heard(session, "")
			session.leave()
			time.Sleep(ttl / 2)
		}
		s.sees("")
	}},
	{"who comes back too late is told what she has lost", func(s *stay) {
		session := s.online(nil)
		s.take()
		since := time.Now()
		session.leave()
		s.lost(since)
		session = s.online([]lock{s.door})
		if heard := s.heard(session, "EXPIRED ann"); len(heard) == 1 && heard[0].rev != s.door.rev {
			s.Errorf("EXPIRED with the token %d, want %d", heard[0].rev, s.door.rev)
		}
		s.sees("")
	}},
	{"who comes back too late is told what somebody else has got since", func(s *stay) {
		s.take()
		s.lost(s.then)
		s.bob.must(acquireLock, shortDoor)
		s.sees("ACQUIRED bob")
		s.heard(s.online([]lock{s.door}), "EXPIRED ann")
	}},
	{"who comes back too late is told what does not exist any more", func(s *stay) {
		s.take()
		s.bob.must(removeLock, shortDoor)
		s.sees("REMOVED ann")
		s.heard(s.online([]lock{s.door}), "EXPIRED ann")
	}},
	{"who has two sessions loses the first, with its reason, and keeps her lock", func(s *stay) {
		first := s.online(nil)
		s.take()
		second := s.online([]lock{s.door}, s.door)
		s.ended(first, -10027)
		s.kept(4)
		s.heard(second, "")
		since := time.Now()
		second.leave()
		s.lost(since)
	}},
	{"who has many sessions keeps her lock by the last", func(s *stay) {
		s.take()
		var sessions []*witness
		for range 5 {
			sessions = append(sessions, s.online(nil, s.door))
		}
		for _, earlier := range sessions[:4] {
			s.ended(earlier, -10027)
		}
		s.kept(3)
	}},
	{"who logs out loses her session, and a TTL later her lock", func(s *stay) {
		session := s.online(nil)
		s.take()
		s.kept(2)
		since := time.Now()
		s.ann.must(logout, shortDoor)
		s.ended(session, 0)
		s.lost(since)
	}},
	{"who logs out and in again in time keeps her lock", func(s *stay) {
		session := s.online(nil)
		s.take()
		s.ann.must(logout, shortDoor)
		s.ended(session, 0)
		s.online([]lock{s.door}, s.door)
		s.kept(3)
	}},
	{"who logs out and gives all back is free of it at once", func(s *stay) {
		session := s.online(nil)
		s.take()
		p := s.bob.start(acquireLock, shortDoor.waiting())
		s.queue(shortDoor, 1)
		since := time.Now()
		s.ann.must(logout, ask{store: component, release: true})
		s.ended(session, 0)
		if got := p.end(); got != 0 || time.Since(since) >= ttl/2 {
			s.Errorf("bob's waiting ends with %d, after %v", got, time.Since(since))
		}
		s.bob.must(removeLock, shortDoor)
		s.sees("RELEASED ann, ACQUIRED bob, REMOVED bob")
	}},
	{"who logs out without a session gives all back, too", func(s *stay) {
		s.take()
		s.ann.must(logout, ask{store: component, release: true})
		s.sees("RELEASED ann")
	}},
	{"who logs out waits no more", func(s *stay) {
		for _, release := range []bool{false, true} {
			s.bob.must(acquireLock, shortDoor)
			p := s.ann.start(acquireLock, shortDoor.waiting())
			s.queue(shortDoor, 1)
			s.ann.must(logout, ask{store: component, release: release})
			if got := p.end(); got != -14007 {
				s.Errorf("her waiting ends with %d: %v", got, p.err)
			}
			s.queue(shortDoor, 0)
			s.bob.must(releaseLock, shortDoor)
			s.sees("ACQUIRED bob, RELEASED bob")
		}
	}},
	{"who logs out is not in the way of others", func(s *stay) {
		session := s.online(nil)
		other, _ := s.bob.online()
		s.bob.must(acquireLock, shortDoor)
		s.ann.must(logout, ask{store: component, release: true})
		s.ended(session, 0)
		s.sees("ACQUIRED bob")
		s.heard(other, "ACQUIRED bob")
		time.Sleep(3 * ttl)
		s.sees("")
	}},
	{"who logs out twice, or has never been there, does nothing", func(s *stay) {
		for _, u := range []user{s.ann, s.ann, s.user("eve")} {
			u.must(logout, ask{store: component, release: true})
			u.must(logout, ask{store: component})
		}
		s.sees("")
	}},
	{"who is alive keeps her lock without a session", func(s *stay) {
		s.take()
		for range 6 {
			time.Sleep(ttl / 2)
			s.alive(nil, []lock{s.door}, nil)
		}
		s.sees("")
		since := time.Now()
		s.alive([]lock{s.door}, []lock{s.door}, nil)
		s.lost(since)
	}},
	{"who is alive too late is told what she has lost", func(s *stay) {
		s.take()
		s.lost(s.then)
		s.alive([]lock{s.door}, nil, []lock{s.door})
		s.bob.must(acquireLock, shortDoor)
		s.alive([]lock{s.door}, nil, []lock{s.door})
		s.bob.must(removeLock, shortDoor)
		s.sees("ACQUIRED bob, REMOVED bob")
	}},
	{"who is alive and online keeps her lock", func(s *stay) {
		session := s.online(nil)
		s.take()
		s.alive(nil, []lock{s.door}, nil)
		s.kept(3)
		s.heard(session, "ACQUIRED ann")
	}},
	{"who holds nothing is told so", func(s *stay) {
		s.alive(nil, nil, nil)
		s.heard(s.online(nil), "")
	}},
	{"who was given a lock while she was offline has it for a TTL", func(s *stay) {
		s.bob.must(acquireLock, shortDoor)
		p := s.ann.start(acquireLock, shortDoor.waiting())
		s.queue(shortDoor, 1)
		since := time.Now()
		s.bob.must(releaseLock, shortDoor)
		if got := p.end(); got != 0 {
			s.Fatalf("her waiting ends with %d", got)
		}
		s.door.rev = p.got.rev
		for _, want := range []string{"ACQUIRED bob", "RELEASED bob", "ACQUIRED ann"} {
			if got := s.dora.next().String(); got != want {
				s.Errorf("the channel sees %q, want %q", got, want)
			}
		}
		s.lost(since)
	}},
	{"who was given a lock while she was online keeps it", func(s *stay) {
		session := s.online(nil)
		s.bob.must(acquireLock, shortDoor)
		p := s.ann.start(acquireLock, shortDoor.waiting())
		s.queue(shortDoor, 1)
		s.bob.must(releaseLock, shortDoor)
		if got := p.end(); got != 0 {
			s.Fatalf("her waiting ends with %d", got)
		}
		s.door.rev = p.got.rev
		s.sees("ACQUIRED bob, RELEASED bob, ACQUIRED ann")
		s.kept(4)
		s.heard(session, "ACQUIRED ann")
	}},
	{"who holds locks in many channels is told all, by channel and name", func(s *stay) {
		session := s.online(nil)
		want := []lock{
			{"garden", messageType, "gate", "ann", 1, 0},
			{"house", messageType, "back door", "ann", 1, 0},
			{"house", messageType, "front door", "ann", 1, 0},
			{"garden", streamType, "gate", "ann", 1, 0},
			{"house", streamType, "front door", "ann", 1, 0},
		}
		for i, l := range want {
			a := ask{store: component, channel: l.channel, kind: l.kind, lock: l.name, ttl: 1}
			_, _ = s.ann.call(setLock, a) // begin has set one of them
			want[i].rev = s.ann.must(acquireLock, a).rev
		}
		s.heard(session, "ACQUIRED ann, ACQUIRED ann, ACQUIRED ann, ACQUIRED ann, ACQUIRED ann")
		s.online(want, want...)
		time.Sleep(3 * ttl)
		s.alive(nil, want, nil)
		s.online(nil, want...)
	}},
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
		for _, row := range stays {
			t.Run(row.name, func(t *testing.T) {
				if p.redis != nil {
					t.Parallel() // time goes on whether or not somebody works
				}
				p.alone(t, shortly, func(w *world) { row.play(begin(w)) })
			})
		}
	})
}

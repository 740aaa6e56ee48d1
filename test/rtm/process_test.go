package rtm

import (
	"testing"
	"time"
)

// stories are what ann and bob do at two processes that use one Redis: here, where dora
// sees it, and there.
var stories = []struct {
	name string
	play func(s *stay, here, there user)
}{
	{"who is online here keeps what she takes there", func(s *stay, here, there user) {
		session, _ := here.online()
		s.desk.rev = there.must(acquireLock, frontDesk).rev
		s.sees("ACQUIRED ann")
		s.kept(3)
		s.heard(session, "ACQUIRED ann")
		since := time.Now()
		session.leave()
		s.lost(since)
	}},
	{"who goes here and comes back there keeps her lock", func(s *stay, here, there user) {
		session, _ := here.online()
		s.take()
		s.kept(1)
		session.leave()
		session, locks := there.online(s.desk)
		if len(locks) != 1 || locks[0] != s.desk {
			s.Errorf("the session begins with %+v, want %+v", locks, s.desk)
		}
		s.kept(3)
		s.heard(session, "")
	}},
	{"who is alive there keeps what she has taken here", func(s *stay, _, there user) {
		s.take()
		var since time.Time
		for range 6 {
			time.Sleep(s.ttl / 2)
			since = time.Now()
			there.must(keepAlive, ask{store: component, held: []lock{s.desk}})
		}
		s.sees("")
		s.lost(since)
	}},
	{"who has taken a lock here has it there", func(s *stay, _, there user) {
		s.take()
		if got := there.code(acquireLock, frontDesk); got != -14003 {
			s.Errorf("acquireLock there ends with %d", got)
		}
		there.must(releaseLock, frontDesk)
		s.sees("RELEASED ann")
	}},
	{"who waits here waits there, too", func(s *stay, here, there user) {
		p := s.waitForBob(here)
		for _, retry := range []bool{false, true} {
			a := frontDesk
			a.retry = retry
			if got := there.code(acquireLock, a); got != -14003 {
				s.Errorf("acquireLock there ends with %d", got)
			}
		}
		there.must(releaseLock, frontDesk)
		if got := p.end(); got != -14007 {
			s.Errorf("her waiting here ends with %d", got)
		}
		s.sees("ACQUIRED bob")
	}},
	{"who waits there gets what is released here", func(s *stay, _, there user) {
		p := s.waitForBob(there)
		s.bob.must(releaseLock, frontDesk)
		if got := p.end(); got != 0 {
			s.Errorf("her waiting there ends with %d", got)
		}
		s.sees("ACQUIRED bob, RELEASED bob, ACQUIRED ann")
	}},
	{"who waits there hears that the lock is removed here", func(s *stay, _, there user) {
		p := s.waitForBob(there)
		s.bob.must(removeLock, frontDesk)
		s.bob.must(setLock, frontDesk)
		if got := p.end(); got != -14008 {
			s.Errorf("her waiting there ends with %d", got)
		}
		s.sees("ACQUIRED bob, REMOVED bob, SET")
	}},
	{"who logs out there gives back what she has taken here", func(s *stay, _, there user) {
		s.take()
		there.must(logout, ask{store: component, release: true})
		s.sees("RELEASED ann")
	}},
	{"whose process ends keeps her lock for a TTL", func(s *stay, _, there user) {
		session, _ := there.online()
		s.desk.rev = there.must(acquireLock, frontDesk).rev
		s.sees("ACQUIRED ann")
		s.kept(2)
		since := time.Now()
		s.services[1].Close()
		s.ended(session, -14009)
		s.lost(since)
	}},
}

func TestUsersOfTwoProcesses(t *testing.T) {
	server := startRedis(t)
	for _, d := range apis {
		for _, row := range stories {
			t.Run(d.name+", "+row.name, func(t *testing.T) {
				t.Parallel()
				p := place{d.open, server}
				w := p.create(t, patience, p.short(), 2)
				s := begin(w)
				row.play(s, s.ann, user{w, w.apis[1], "ann"})
			})
		}
	}
}

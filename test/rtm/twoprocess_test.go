package rtm

import (
	"testing"
	"time"
)

// stories are what ann and bob do at two processes that use one Redis: here, where dora
// sees it, and there.
var twoProcessCases = []struct {
	name string
	play func(s *presence, here, there user)
}{
	{"who is online here keeps what she takes there", func(s *presence, here, there user) {
		session, _ := here.openSession()
		s.desk.rev = there.must(acquireLock, frontDesk).rev
		s.checkChannelEvents("ACQUIRED ann")
		s.checkKept(3)
		s.checkSessionEvents(session, "ACQUIRED ann")
		since := time.Now()
		session.disconnect()
		s.checkExpired(since)
	}},
	{"who goes here and comes back there keeps her lock", func(s *presence, here, there user) {
		session, _ := here.openSession()
		s.acquire()
		s.checkKept(1)
		session.disconnect()
		session, locks := there.openSession(s.desk)
		if len(locks) != 1 || locks[0] != s.desk {
			s.Errorf("the session begins with %+v, want %+v", locks, s.desk)
		}
		s.checkKept(3)
		s.checkSessionEvents(session, "")
	}},
	{"who is alive there keeps what she has taken here", func(s *presence, _, there user) {
		s.acquire()
		var since time.Time
		for range 6 {
			time.Sleep(s.ttl / 2)
			since = time.Now()
			there.must(keepAlive, request{store: component, held: []lock{s.desk}})
		}
		s.checkChannelEvents("")
		s.checkExpired(since)
	}},
	{"who has taken a lock here has it there", func(s *presence, _, there user) {
		s.acquire()
		if got := there.code(acquireLock, frontDesk); got != -14003 {
			s.Errorf("acquireLock there ends with %d", got)
		}
		there.must(releaseLock, frontDesk)
		s.checkChannelEvents("RELEASED ann")
	}},
	{"who waits here waits there, too", func(s *presence, here, there user) {
		p := s.waitForBob(here)
		for _, retry := range []bool{false, true} {
			a := frontDesk
			a.retry = retry
			if got := there.code(acquireLock, a); got != -14003 {
				s.Errorf("acquireLock there ends with %d", got)
			}
		}
		there.must(releaseLock, frontDesk)
		if got := p.wait(); got != -14007 {
			s.Errorf("her waiting here ends with %d", got)
		}
		s.checkChannelEvents("ACQUIRED bob")
	}},
	{"who waits there gets what is released here", func(s *presence, _, there user) {
		p := s.waitForBob(there)
		s.bob.must(releaseLock, frontDesk)
		if got := p.wait(); got != 0 {
			s.Errorf("her waiting there ends with %d", got)
		}
		s.checkChannelEvents("ACQUIRED bob, RELEASED bob, ACQUIRED ann")
	}},
	{"who waits there hears that the lock is removed here", func(s *presence, _, there user) {
		p := s.waitForBob(there)
		s.bob.must(removeLock, frontDesk)
		s.bob.must(setLock, frontDesk)
		if got := p.wait(); got != -14008 {
			s.Errorf("her waiting there ends with %d", got)
		}
		s.checkChannelEvents("ACQUIRED bob, REMOVED bob, SET")
	}},
	{"who logs out there gives back what she has taken here", func(s *presence, _, there user) {
		s.acquire()
		there.must(logout, request{store: component, release: true})
		s.checkChannelEvents("RELEASED ann")
	}},
	{"whose process ends keeps her lock for a TTL", func(s *presence, _, there user) {
		session, _ := there.openSession()
		s.desk.rev = there.must(acquireLock, frontDesk).rev
		s.checkChannelEvents("ACQUIRED ann")
		s.checkKept(2)
		since := time.Now()
		s.services[1].Close()
		s.checkSessionEnded(session, -14009)
		s.checkExpired(since)
	}},
}

func TestPresence_TwoProcesses(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	forEachAPI(t, "", func(t *testing.T, p target) {
		p.redis = server
		for _, row := range twoProcessCases {
			t.Run(row.name, func(t *testing.T) {
				p.skipVariants(t, row.name)
				t.Parallel()
				w := p.newEnv(t, scenarioTimeout, p.shortTTLs(), 2)
				s := newPresence(w)
				row.play(s, s.ann, user{w, w.apis[1], "ann"})
			})
		}
	})
}

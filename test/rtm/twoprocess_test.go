package rtm

import (
	"testing"
	"time"
)

// twoProcessCases are calls of ann and bob to two processes that share a Redis server.
// here is ann at the process where dora subscribes, there is ann at the other.
var twoProcessCases = []struct {
	name string
	run  func(s *presence, here, there user)
}{
	{"a session renews a lock that the other process granted", func(s *presence, here, there user) {
		session, _ := here.openSession()
		s.desk.rev = there.must(acquireLock, frontDesk).rev
		s.checkChannelEvents("ACQUIRED ann")
		s.checkKept(3)
		s.checkSessionEvents(session, "ACQUIRED ann")
		since := time.Now()
		session.disconnect()
		s.checkExpired(since)
	}},
	{"a session can move to the other process", func(s *presence, here, there user) {
		session, _ := here.openSession()
		s.acquire()
		s.checkKept(1)
		session.disconnect()
		session, locks := there.openSession(s.desk)
		if len(locks) != 1 || locks[0] != s.desk {
			s.Errorf("snapshot of the session = %+v, want %+v", locks, s.desk)
		}
		s.checkKept(3)
		s.checkSessionEvents(session, "")
	}},
	{"keepAlive renews a lock that the other process granted", func(s *presence, _, there user) {
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
	{"a held lock is held in the other process", func(s *presence, _, there user) {
		s.acquire()
		if got := there.code(acquireLock, frontDesk); got != -14003 {
			s.Errorf("code of acquireLock = %d, want -14003", got)
		}
		there.must(releaseLock, frontDesk)
		s.checkChannelEvents("RELEASED ann")
	}},
	{"a waiter is known in the other process", func(s *presence, here, there user) {
		p := s.waitForBob(here)
		for _, retry := range []bool{false, true} {
			a := frontDesk
			a.retry = retry
			if got := there.code(acquireLock, a); got != -14003 {
				s.Errorf("code of acquireLock with retry %v = %d, want -14003", retry, got)
			}
		}
		there.must(releaseLock, frontDesk)
		if got := p.wait(); got != -14007 {
			s.Errorf("code of the waiting call = %d, want -14007", got)
		}
		s.checkChannelEvents("ACQUIRED bob")
	}},
	{"a waiter acquires a lock that the other process releases", func(s *presence, _, there user) {
		p := s.waitForBob(there)
		s.bob.must(releaseLock, frontDesk)
		if got := p.wait(); got != 0 {
			s.Errorf("code of the waiting call = %d, want 0", got)
		}
		s.checkChannelEvents("ACQUIRED bob, RELEASED bob, ACQUIRED ann")
	}},
	{"a waiter fails when the other process removes the lock", func(s *presence, _, there user) {
		p := s.waitForBob(there)
		s.bob.must(removeLock, frontDesk)
		s.bob.must(setLock, frontDesk)
		if got := p.wait(); got != -14008 {
			s.Errorf("code of the waiting call = %d, want -14008", got)
		}
		s.checkChannelEvents("ACQUIRED bob, REMOVED bob, SET")
	}},
	{"logout releases a lock that the other process granted", func(s *presence, _, there user) {
		s.acquire()
		there.must(logout, request{store: component, release: true})
		s.checkChannelEvents("RELEASED ann")
	}},
	{"a lock lasts a TTL after the process of its session has closed", func(s *presence, _, there user) {
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
				row.run(s, s.ann, user{w, w.apis[1], "ann"})
			})
		}
	})
}

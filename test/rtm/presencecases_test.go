package rtm

import "time"

// presenceCases are the ways in which sessions, keepAlive and logout affect locks.
var presenceCases = []struct {
	name string
	run  func(s *presence)
}{
	{"a session renews a lock acquired during it", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		s.checkKept(4)
		s.checkSessionEvents(session, "ACQUIRED ann")
	}},
	{"a session renews a lock acquired before it", func(s *presence) {
		s.acquire()
		session := s.openSession(nil, s.desk)
		s.checkKept(4)
		s.checkSessionEvents(session, "")
	}},
	{"without a session a lock expires after its TTL", func(s *presence) {
		s.acquire()
		s.checkExpired(s.acquiredAfter)
	}},
	{"a lock expires a TTL after its session, and is free", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		s.checkKept(2)
		since := time.Now()
		session.disconnect()
		s.checkExpired(since)
		if got := s.ann.code(releaseLock, frontDesk); got != -14006 {
			s.Errorf("code of releaseLock after the expiry = %d, want -14006", got)
		}
		if got := s.bob.must(acquireLock, frontDesk); got.rev <= s.desk.rev {
			s.Errorf("token of bob = %d, want more than ann's %d", got.rev, s.desk.rev)
		}
	}},
	{"a waiter acquires a lock a TTL after its owner's session", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		p := s.bob.start(acquireLock, frontDesk.withRetry())
		s.waitForWaiters(frontDesk, 1)
		since := time.Now()
		session.disconnect()
		if got := p.wait(); got != 0 {
			s.Errorf("code of bob's waiting call = %d, want 0", got)
		}
		s.checkTTLPassed(since)
		s.bob.must(removeLock, frontDesk)
		s.checkChannelEvents("RELEASED ann, ACQUIRED bob, REMOVED bob")
	}},
	{"a new session within the TTL keeps the lock without events", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		s.checkKept(2)
		session.disconnect()
		time.Sleep(s.ttl / 2)
		session = s.openSession([]lock{s.desk}, s.desk)
		s.checkKept(3)
		s.checkSessionEvents(session, "")
	}},
	{"many short sessions keep the lock", func(s *presence) {
		s.acquire()
		for range 5 {
			session := s.openSession([]lock{s.desk}, s.desk)
			s.checkSessionEvents(session, "")
			session.disconnect()
			time.Sleep(s.ttl / 2)
		}
		s.checkChannelEvents("")
	}},
	{"a new session after the TTL reports the expired lock", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		since := time.Now()
		session.disconnect()
		s.checkExpired(since)
		session = s.openSession([]lock{s.desk})
		if events := s.checkSessionEvents(session, "EXPIRED ann"); len(events) == 1 && events[0].rev != s.desk.rev {
			s.Errorf("token of EXPIRED = %d, want %d", events[0].rev, s.desk.rev)
		}
		s.checkChannelEvents("")
	}},
	{"a new session after the TTL reports a lock that another owner holds", func(s *presence) {
		s.acquire()
		s.checkExpired(s.acquiredAfter)
		s.bob.must(acquireLock, frontDesk)
		s.checkChannelEvents("ACQUIRED bob")
		s.checkSessionEvents(s.openSession([]lock{s.desk}), "EXPIRED ann")
	}},
	{"a new session reports a removed lock", func(s *presence) {
		s.acquire()
		s.bob.must(removeLock, frontDesk)
		s.checkChannelEvents("REMOVED ann")
		s.checkSessionEvents(s.openSession([]lock{s.desk}), "EXPIRED ann")
	}},
	{"a second session ends the first with a code, and keeps the lock", func(s *presence) {
		first := s.openSession(nil)
		s.acquire()
		second := s.openSession([]lock{s.desk}, s.desk)
		s.checkSessionEnded(first, -10027)
		s.checkKept(4)
		s.checkSessionEvents(second, "")
		since := time.Now()
		second.disconnect()
		s.checkExpired(since)
	}},
	{"the last of many sessions keeps the lock", func(s *presence) {
		s.acquire()
		var sessions []*eventRecorder
		for range 5 {
			sessions = append(sessions, s.openSession(nil, s.desk))
		}
		for _, earlier := range sessions[:4] {
			s.checkSessionEnded(earlier, -10027)
		}
		s.checkKept(3)
	}},
	{"logout ends the session, and the lock expires a TTL later", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		s.checkKept(2)
		since := time.Now()
		s.ann.must(logout, frontDesk)
		s.checkSessionEnded(session, 0)
		s.checkExpired(since)
	}},
	{"a new session within the TTL after a logout keeps the lock", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		s.ann.must(logout, frontDesk)
		s.checkSessionEnded(session, 0)
		s.openSession([]lock{s.desk}, s.desk)
		s.checkKept(3)
	}},
	{"logout with release releases the lock immediately", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		p := s.bob.start(acquireLock, frontDesk.withRetry())
		s.waitForWaiters(frontDesk, 1)
		since := time.Now()
		s.ann.must(logout, request{store: component, release: true})
		s.checkSessionEnded(session, 0)
		if got := p.wait(); got != 0 || time.Since(since) >= s.ttl/2 {
			s.Errorf("code of bob's waiting call = %d after %v, want 0 before %v", got, time.Since(since), s.ttl/2)
		}
		s.bob.must(removeLock, frontDesk)
		s.checkChannelEvents("RELEASED ann, ACQUIRED bob, REMOVED bob")
	}},
	{"logout with release needs no session", func(s *presence) {
		s.acquire()
		s.ann.must(logout, request{store: component, release: true})
		s.checkChannelEvents("RELEASED ann")
	}},
	{"logout ends waiting calls", func(s *presence) {
		for _, release := range []bool{false, true} {
			p := s.waitForBob(s.ann)
			s.ann.must(logout, request{store: component, release: release})
			if got := p.wait(); got != -14007 {
				s.Errorf("code of the waiting call = %d, want -14007: %v", got, p.err)
			}
			s.waitForWaiters(frontDesk, 0)
			s.bob.must(releaseLock, frontDesk)
			s.checkChannelEvents("ACQUIRED bob, RELEASED bob")
		}
	}},
	{"logout does not affect other users", func(s *presence) {
		session := s.openSession(nil)
		other, _ := s.bob.openSession()
		s.bob.must(acquireLock, frontDesk)
		s.ann.must(logout, request{store: component, release: true})
		s.checkSessionEnded(session, 0)
		s.checkChannelEvents("ACQUIRED bob")
		s.checkSessionEvents(other, "ACQUIRED bob")
		time.Sleep(3 * s.ttl)
		s.checkChannelEvents("")
	}},
	{"logout without sessions and locks succeeds", func(s *presence) {
		for _, u := range []user{s.ann, s.ann, s.user("eve")} {
			u.must(logout, request{store: component, release: true})
			u.must(logout, request{store: component})
		}
		s.checkChannelEvents("")
	}},
	{"keepAlive renews a lock without a session", func(s *presence) {
		s.acquire()
		for range 6 {
			time.Sleep(s.ttl / 2)
			s.checkKeepAlive(nil, []lock{s.desk}, nil)
		}
		s.checkChannelEvents("")
		since := time.Now()
		s.checkKeepAlive([]lock{s.desk}, []lock{s.desk}, nil)
		s.checkExpired(since)
	}},
	{"keepAlive after the TTL reports the expired lock", func(s *presence) {
		s.acquire()
		s.checkExpired(s.acquiredAfter)
		s.checkKeepAlive([]lock{s.desk}, nil, []lock{s.desk})
		s.bob.must(acquireLock, frontDesk)
		s.checkKeepAlive([]lock{s.desk}, nil, []lock{s.desk})
		s.bob.must(removeLock, frontDesk)
		s.checkChannelEvents("ACQUIRED bob, REMOVED bob")
	}},
	{"keepAlive during a session keeps the lock", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		s.checkKeepAlive(nil, []lock{s.desk}, nil)
		s.checkKept(3)
		s.checkSessionEvents(session, "ACQUIRED ann")
	}},
	{"keepAlive and a session without locks report none", func(s *presence) {
		s.checkKeepAlive(nil, nil, nil)
		s.checkSessionEvents(s.openSession(nil), "")
	}},
	{"a lock granted to a waiter without a session lasts a TTL", func(s *presence) {
		p := s.waitForBob(s.ann)
		since := time.Now()
		s.bob.must(releaseLock, frontDesk)
		if got := p.wait(); got != 0 {
			s.Fatalf("code of the waiting call = %d, want 0", got)
		}
		s.desk.rev = p.answer.rev
		for _, want := range []string{"ACQUIRED bob", "RELEASED bob", "ACQUIRED ann"} {
			if got := s.dora.next().String(); got != want {
				s.Errorf("event of the channel = %q, want %q", got, want)
			}
		}
		s.checkExpired(since)
	}},
	{"a session renews a lock granted to a waiter", func(s *presence) {
		session := s.openSession(nil)
		p := s.waitForBob(s.ann)
		s.bob.must(releaseLock, frontDesk)
		if got := p.wait(); got != 0 {
			s.Fatalf("code of the waiting call = %d, want 0", got)
		}
		s.desk.rev = p.answer.rev
		s.checkChannelEvents("ACQUIRED bob, RELEASED bob, ACQUIRED ann")
		s.checkKept(4)
		s.checkSessionEvents(session, "ACQUIRED ann")
	}},
	{"snapshots list locks of many channels by channel and name", func(s *presence) {
		session := s.openSession(nil)
		want := []lock{
			s.annsLock("garden", messageType, "gate", 0),
			s.annsLock("house", messageType, "back desk", 0),
			s.annsLock("house", messageType, "front desk", 0),
			s.annsLock("garden", streamType, "gate", 0),
			s.annsLock("house", streamType, "front desk", 0),
		}
		for i, l := range want {
			a := request{store: component, channel: l.channel, kind: l.kind, lock: l.name}
			_, _ = s.ann.call(setLock, a) // fails for the lock that newPresence has set
			want[i].rev = s.ann.must(acquireLock, a).rev
		}
		s.checkSessionEvents(session, "ACQUIRED ann, ACQUIRED ann, ACQUIRED ann, ACQUIRED ann, ACQUIRED ann")
		s.openSession(want, want...)
		time.Sleep(3 * s.ttl)
		s.checkKeepAlive(nil, want, nil)
		s.openSession(nil, want...)
	}},
}

package rtm

import "time"

// stays are what can become of the locks of a user who comes and goes.
var presenceCases = []struct {
	name string
	play func(s *presence)
}{
	{"who is online keeps what she takes for many TTLs", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		s.checkKept(4)
		s.checkSessionEvents(session, "ACQUIRED ann")
	}},
	{"who comes online keeps what she has taken before", func(s *presence) {
		s.acquire()
		session := s.openSession(nil, s.desk)
		s.checkKept(4)
		s.checkSessionEvents(session, "")
	}},
	{"who is never online loses a lock a TTL after she took it", func(s *presence) {
		s.acquire()
		s.checkExpired(s.acquiredAfter)
	}},
	{"who goes loses a lock a TTL later, and anybody can take it", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		s.checkKept(2)
		since := time.Now()
		session.disconnect()
		s.checkExpired(since)
		if got := s.ann.code(releaseLock, frontDesk); got != -14006 {
			s.Errorf("releaseLock after the loss ends with %d", got)
		}
		if got := s.bob.must(acquireLock, frontDesk); got.rev <= s.desk.rev {
			s.Errorf("bob's token is %d, after ann's %d", got.rev, s.desk.rev)
		}
	}},
	{"who waits gets a lock a TTL after its owner has gone", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		p := s.bob.start(acquireLock, frontDesk.withRetry())
		s.waitForWaiters(frontDesk, 1)
		since := time.Now()
		session.disconnect()
		if got := p.wait(); got != 0 {
			s.Errorf("bob's waiting ends with %d", got)
		}
		s.checkTTLPassed(since)
		s.bob.must(removeLock, frontDesk)
		s.checkChannelEvents("RELEASED ann, ACQUIRED bob, REMOVED bob")
	}},
	{"who comes back in time keeps her lock, and nobody is told", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		s.checkKept(2)
		session.disconnect()
		time.Sleep(s.ttl / 2)
		session = s.openSession([]lock{s.desk}, s.desk)
		s.checkKept(3)
		s.checkSessionEvents(session, "")
	}},
	{"who comes and goes all the time keeps her lock", func(s *presence) {
		s.acquire()
		for range 5 {
			session := s.openSession([]lock{s.desk}, s.desk)
			s.checkSessionEvents(session, "")
			session.disconnect()
			time.Sleep(s.ttl / 2)
		}
		s.checkChannelEvents("")
	}},
	{"who comes back too late is told what she has lost", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		since := time.Now()
		session.disconnect()
		s.checkExpired(since)
		session = s.openSession([]lock{s.desk})
		if heard := s.checkSessionEvents(session, "EXPIRED ann"); len(heard) == 1 && heard[0].rev != s.desk.rev {
			s.Errorf("EXPIRED with the token %d, want %d", heard[0].rev, s.desk.rev)
		}
		s.checkChannelEvents("")
	}},
	{"who comes back too late is told what somebody else has got since", func(s *presence) {
		s.acquire()
		s.checkExpired(s.acquiredAfter)
		s.bob.must(acquireLock, frontDesk)
		s.checkChannelEvents("ACQUIRED bob")
		s.checkSessionEvents(s.openSession([]lock{s.desk}), "EXPIRED ann")
	}},
	{"who comes back too late is told what does not exist any more", func(s *presence) {
		s.acquire()
		s.bob.must(removeLock, frontDesk)
		s.checkChannelEvents("REMOVED ann")
		s.checkSessionEvents(s.openSession([]lock{s.desk}), "EXPIRED ann")
	}},
	{"who has two sessions loses the first, with its reason, and keeps her lock", func(s *presence) {
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
	{"who has many sessions keeps her lock by the last", func(s *presence) {
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
	{"who logs out loses her session, and a TTL later her lock", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		s.checkKept(2)
		since := time.Now()
		s.ann.must(logout, frontDesk)
		s.checkSessionEnded(session, 0)
		s.checkExpired(since)
	}},
	{"who logs out and in again in time keeps her lock", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		s.ann.must(logout, frontDesk)
		s.checkSessionEnded(session, 0)
		s.openSession([]lock{s.desk}, s.desk)
		s.checkKept(3)
	}},
	{"who logs out and gives all back is free of it at once", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		p := s.bob.start(acquireLock, frontDesk.withRetry())
		s.waitForWaiters(frontDesk, 1)
		since := time.Now()
		s.ann.must(logout, request{store: component, release: true})
		s.checkSessionEnded(session, 0)
		if got := p.wait(); got != 0 || time.Since(since) >= s.ttl/2 {
			s.Errorf("bob's waiting ends with %d, after %v", got, time.Since(since))
		}
		s.bob.must(removeLock, frontDesk)
		s.checkChannelEvents("RELEASED ann, ACQUIRED bob, REMOVED bob")
	}},
	{"who logs out without a session gives all back, too", func(s *presence) {
		s.acquire()
		s.ann.must(logout, request{store: component, release: true})
		s.checkChannelEvents("RELEASED ann")
	}},
	{"who logs out waits no more", func(s *presence) {
		for _, release := range []bool{false, true} {
			p := s.waitForBob(s.ann)
			s.ann.must(logout, request{store: component, release: release})
			if got := p.wait(); got != -14007 {
				s.Errorf("her waiting ends with %d: %v", got, p.err)
			}
			s.waitForWaiters(frontDesk, 0)
			s.bob.must(releaseLock, frontDesk)
			s.checkChannelEvents("ACQUIRED bob, RELEASED bob")
		}
	}},
	{"who logs out is not in the way of others", func(s *presence) {
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
	{"who logs out twice, or has never been there, does nothing", func(s *presence) {
		for _, u := range []user{s.ann, s.ann, s.user("eve")} {
			u.must(logout, request{store: component, release: true})
			u.must(logout, request{store: component})
		}
		s.checkChannelEvents("")
	}},
	{"who is alive keeps her lock without a session", func(s *presence) {
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
	{"who is alive too late is told what she has lost", func(s *presence) {
		s.acquire()
		s.checkExpired(s.acquiredAfter)
		s.checkKeepAlive([]lock{s.desk}, nil, []lock{s.desk})
		s.bob.must(acquireLock, frontDesk)
		s.checkKeepAlive([]lock{s.desk}, nil, []lock{s.desk})
		s.bob.must(removeLock, frontDesk)
		s.checkChannelEvents("ACQUIRED bob, REMOVED bob")
	}},
	{"who is alive and online keeps her lock", func(s *presence) {
		session := s.openSession(nil)
		s.acquire()
		s.checkKeepAlive(nil, []lock{s.desk}, nil)
		s.checkKept(3)
		s.checkSessionEvents(session, "ACQUIRED ann")
	}},
	{"who holds nothing is told so", func(s *presence) {
		s.checkKeepAlive(nil, nil, nil)
		s.checkSessionEvents(s.openSession(nil), "")
	}},
	{"who was given a lock while she was offline has it for a TTL", func(s *presence) {
		p := s.waitForBob(s.ann)
		since := time.Now()
		s.bob.must(releaseLock, frontDesk)
		if got := p.wait(); got != 0 {
			s.Fatalf("her waiting ends with %d", got)
		}
		s.desk.rev = p.answer.rev
		for _, want := range []string{"ACQUIRED bob", "RELEASED bob", "ACQUIRED ann"} {
			if got := s.dora.next().String(); got != want {
				s.Errorf("the channel sees %q, want %q", got, want)
			}
		}
		s.checkExpired(since)
	}},
	{"who was given a lock while she was online keeps it", func(s *presence) {
		session := s.openSession(nil)
		p := s.waitForBob(s.ann)
		s.bob.must(releaseLock, frontDesk)
		if got := p.wait(); got != 0 {
			s.Fatalf("her waiting ends with %d", got)
		}
		s.desk.rev = p.answer.rev
		s.checkChannelEvents("ACQUIRED bob, RELEASED bob, ACQUIRED ann")
		s.checkKept(4)
		s.checkSessionEvents(session, "ACQUIRED ann")
	}},
	{"who holds locks in many channels is told all, by channel and name", func(s *presence) {
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
			_, _ = s.ann.call(setLock, a) // begin has set one of them
			want[i].rev = s.ann.must(acquireLock, a).rev
		}
		s.checkSessionEvents(session, "ACQUIRED ann, ACQUIRED ann, ACQUIRED ann, ACQUIRED ann, ACQUIRED ann")
		s.openSession(want, want...)
		time.Sleep(3 * s.ttl)
		s.checkKeepAlive(nil, want, nil)
		s.openSession(nil, want...)
	}},
}

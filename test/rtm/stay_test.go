package rtm

import "time"

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
		session := s.online(nil, s.desk)
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
		if got := s.ann.code(releaseLock, frontDesk); got != -14006 {
			s.Errorf("releaseLock after the loss ends with %d", got)
		}
		if got := s.bob.must(acquireLock, frontDesk); got.rev <= s.desk.rev {
			s.Errorf("bob's token is %d, after ann's %d", got.rev, s.desk.rev)
		}
	}},
	{"who waits gets a lock a TTL after its owner has gone", func(s *stay) {
		session := s.online(nil)
		s.take()
		p := s.bob.start(acquireLock, frontDesk.waiting())
		s.queue(frontDesk, 1)
		since := time.Now()
		session.leave()
		if got := p.end(); got != 0 {
			s.Errorf("bob's waiting ends with %d", got)
		}
		s.passed(since)
		s.bob.must(removeLock, frontDesk)
		s.sees("RELEASED ann, ACQUIRED bob, REMOVED bob")
	}},
	{"who comes back in time keeps her lock, and nobody is told", func(s *stay) {
		session := s.online(nil)
		s.take()
		s.kept(2)
		session.leave()
		time.Sleep(s.ttl / 2)
		session = s.online([]lock{s.desk}, s.desk)
		s.kept(3)
		s.heard(session, "")
	}},
	{"who comes and goes all the time keeps her lock", func(s *stay) {
		s.take()
		for range 5 {
			session := s.online([]lock{s.desk}, s.desk)
			s.heard(session, "")
			session.leave()
			time.Sleep(s.ttl / 2)
		}
		s.sees("")
	}},
	{"who comes back too late is told what she has lost", func(s *stay) {
		session := s.online(nil)
		s.take()
		since := time.Now()
		session.leave()
		s.lost(since)
		session = s.online([]lock{s.desk})
		if heard := s.heard(session, "EXPIRED ann"); len(heard) == 1 && heard[0].rev != s.desk.rev {
			s.Errorf("EXPIRED with the token %d, want %d", heard[0].rev, s.desk.rev)
		}
		s.sees("")
	}},
	{"who comes back too late is told what somebody else has got since", func(s *stay) {
		s.take()
		s.lost(s.then)
		s.bob.must(acquireLock, frontDesk)
		s.sees("ACQUIRED bob")
		s.heard(s.online([]lock{s.desk}), "EXPIRED ann")
	}},
	{"who comes back too late is told what does not exist any more", func(s *stay) {
		s.take()
		s.bob.must(removeLock, frontDesk)
		s.sees("REMOVED ann")
		s.heard(s.online([]lock{s.desk}), "EXPIRED ann")
	}},
	{"who has two sessions loses the first, with its reason, and keeps her lock", func(s *stay) {
		first := s.online(nil)
		s.take()
		second := s.online([]lock{s.desk}, s.desk)
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
			sessions = append(sessions, s.online(nil, s.desk))
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
		s.ann.must(logout, frontDesk)
		s.ended(session, 0)
		s.lost(since)
	}},
	{"who logs out and in again in time keeps her lock", func(s *stay) {
		session := s.online(nil)
		s.take()
		s.ann.must(logout, frontDesk)
		s.ended(session, 0)
		s.online([]lock{s.desk}, s.desk)
		s.kept(3)
	}},
	{"who logs out and gives all back is free of it at once", func(s *stay) {
		session := s.online(nil)
		s.take()
		p := s.bob.start(acquireLock, frontDesk.waiting())
		s.queue(frontDesk, 1)
		since := time.Now()
		s.ann.must(logout, ask{store: component, release: true})
		s.ended(session, 0)
		if got := p.end(); got != 0 || time.Since(since) >= s.ttl/2 {
			s.Errorf("bob's waiting ends with %d, after %v", got, time.Since(since))
		}
		s.bob.must(removeLock, frontDesk)
		s.sees("RELEASED ann, ACQUIRED bob, REMOVED bob")
	}},
	{"who logs out without a session gives all back, too", func(s *stay) {
		s.take()
		s.ann.must(logout, ask{store: component, release: true})
		s.sees("RELEASED ann")
	}},
	{"who logs out waits no more", func(s *stay) {
		for _, release := range []bool{false, true} {
			p := s.waitForBob(s.ann)
			s.ann.must(logout, ask{store: component, release: release})
			if got := p.end(); got != -14007 {
				s.Errorf("her waiting ends with %d: %v", got, p.err)
			}
			s.queue(frontDesk, 0)
			s.bob.must(releaseLock, frontDesk)
			s.sees("ACQUIRED bob, RELEASED bob")
		}
	}},
	{"who logs out is not in the way of others", func(s *stay) {
		session := s.online(nil)
		other, _ := s.bob.online()
		s.bob.must(acquireLock, frontDesk)
		s.ann.must(logout, ask{store: component, release: true})
		s.ended(session, 0)
		s.sees("ACQUIRED bob")
		s.heard(other, "ACQUIRED bob")
		time.Sleep(3 * s.ttl)
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
			time.Sleep(s.ttl / 2)
			s.alive(nil, []lock{s.desk}, nil)
		}
		s.sees("")
		since := time.Now()
		s.alive([]lock{s.desk}, []lock{s.desk}, nil)
		s.lost(since)
	}},
	{"who is alive too late is told what she has lost", func(s *stay) {
		s.take()
		s.lost(s.then)
		s.alive([]lock{s.desk}, nil, []lock{s.desk})
		s.bob.must(acquireLock, frontDesk)
		s.alive([]lock{s.desk}, nil, []lock{s.desk})
		s.bob.must(removeLock, frontDesk)
		s.sees("ACQUIRED bob, REMOVED bob")
	}},
	{"who is alive and online keeps her lock", func(s *stay) {
		session := s.online(nil)
		s.take()
		s.alive(nil, []lock{s.desk}, nil)
		s.kept(3)
		s.heard(session, "ACQUIRED ann")
	}},
	{"who holds nothing is told so", func(s *stay) {
		s.alive(nil, nil, nil)
		s.heard(s.online(nil), "")
	}},
	{"who was given a lock while she was offline has it for a TTL", func(s *stay) {
		p := s.waitForBob(s.ann)
		since := time.Now()
		s.bob.must(releaseLock, frontDesk)
		if got := p.end(); got != 0 {
			s.Fatalf("her waiting ends with %d", got)
		}
		s.desk.rev = p.got.rev
		for _, want := range []string{"ACQUIRED bob", "RELEASED bob", "ACQUIRED ann"} {
			if got := s.dora.next().String(); got != want {
				s.Errorf("the channel sees %q, want %q", got, want)
			}
		}
		s.lost(since)
	}},
	{"who was given a lock while she was online keeps it", func(s *stay) {
		session := s.online(nil)
		p := s.waitForBob(s.ann)
		s.bob.must(releaseLock, frontDesk)
		if got := p.end(); got != 0 {
			s.Fatalf("her waiting ends with %d", got)
		}
		s.desk.rev = p.got.rev
		s.sees("ACQUIRED bob, RELEASED bob, ACQUIRED ann")
		s.kept(4)
		s.heard(session, "ACQUIRED ann")
	}},
	{"who holds locks in many channels is told all, by channel and name", func(s *stay) {
		session := s.online(nil)
		want := []lock{
			s.anns("garden", messageType, "gate", 0),
			s.anns("house", messageType, "back desk", 0),
			s.anns("house", messageType, "front desk", 0),
			s.anns("garden", streamType, "gate", 0),
			s.anns("house", streamType, "front desk", 0),
		}
		for i, l := range want {
			a := ask{store: component, channel: l.channel, kind: l.kind, lock: l.name}
			_, _ = s.ann.call(setLock, a) // begin has set one of them
			want[i].rev = s.ann.must(acquireLock, a).rev
		}
		s.heard(session, "ACQUIRED ann, ACQUIRED ann, ACQUIRED ann, ACQUIRED ann, ACQUIRED ann")
		s.online(want, want...)
		time.Sleep(3 * s.ttl)
		s.alive(nil, want, nil)
		s.online(nil, want...)
	}},
}

package rtm

import (
	"maps"
	"slices"
	"testing"
)

func TestOperations(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		for _, group := range table {
			for _, r := range group.rows {
				p.runWithEnv(t, r.name(group.state), func(w *env) { newScenario(w, group.state).run(r) })
			}
		}
	})
}

// scenario is an env with a lock in one of the states, and its users.
type scenario struct {
	*env
	state            string
	ann, bob, cid    user
	dora             *eventRecorder // subscribes to the channel
	sessions         []*eventRecorder
	annCall, cidCall *pendingCall
	revs             map[string]uint64 // tokens of the users that acquired the lock
}

// newScenario brings the lock into the state.

func newScenario(w *env, state string) *scenario {
	s := &scenario{env: w, state: state, ann: w.user("ann"), bob: w.user("bob"), cid: w.user("cid"), revs: map[string]uint64{}}
	for _, u := range []user{s.ann, s.bob, s.cid} {
		session, _ := u.openSession()
		s.sessions = append(s.sessions, session)
	}
	if state != absent {
		s.ann.must(setLock, frontDesk)
	}
	if holder := s.firstHolder(); holder != nil {
		s.revs[holder.name] = holder.must(acquireLock, frontDesk).rev
	}
	switch state {
	case annWaits:
		s.annCall = s.startWaiting(s.ann, 1)
	case heldByAnnCidWaits, heldByBobCidWaits:
		s.cidCall = s.startWaiting(s.cid, 1)
	case cidAndAnnWait:
		s.cidCall = s.startWaiting(s.cid, 1)
		s.annCall = s.startWaiting(s.ann, 2)
	}
	for _, session := range s.sessions {
		session.sessionEvents()
	}
	s.dora, _ = w.user("dora").subscribe(frontDesk)
	return s
}

// firstHolder returns the holder of the lock in the scenario's state, or nil.
func (s *scenario) firstHolder() *user {
	switch s.state {
	case absent, free:
		return nil
	case heldByAnn, heldByAnnCidWaits:
		return &s.ann
	default:
		return &s.bob
	}
}

// startWaiting starts a call of the user that waits for the lock as the nth waiter.
func (s *scenario) startWaiting(u user, n int) *pendingCall {
	p := u.start(acquireLock, frontDesk.withRetry())
	s.waitForWaiters(frontDesk, n)
	return p
}

// run calls ann's operation, and checks the answer, the waiters, the lock and the events.
func (s *scenario) run(r row) {
	before := s.dora.locks(frontDesk)
	s.call(r, before)
	s.checkWaiter("ann", s.annCall, r.ann)
	s.checkWaiter("cid", s.cidCall, r.cid)
	if got := s.dora.state(frontDesk); got != r.after {
		s.Errorf("state of the lock = %s, want %s", got, r.after)
	}
	channel := s.dora.channelEvents()
	var sessions []event
	for _, session := range s.sessions {
		sessions = append(sessions, session.sessionEvents()...)
	}
	if got := describe(channel); got != r.channel {
		s.Errorf("events of the channel = %q, want %q", got, r.channel)
	}
	if got := describe(sessions); got != r.sessions {
		s.Errorf("events of the sessions = %q, want %q", got, r.sessions)
	}
	s.checkEvents(append(channel, sessions...))
	s.finish(r.late)
}

// call calls ann's operation and checks its answer, or checks that it waits.
func (s *scenario) call(r row, before []lock) {
	a := frontDesk
	a.retry, a.owner = r.retry, r.owner
	p := s.ann.start(r.call, a)
	if r.code == stillWaiting {
		waiting := 1
		if s.cidCall != nil {
			waiting = 2
		}
		s.waitForWaiters(a, waiting)
		s.annCall = p
		return
	}
	if got := p.wait(); got != r.code {
		s.Fatalf("code of the call = %d, want %d: %v", got, r.code, p.err)
	}
	if r.code == 0 {
		s.checkAnswer(r.call, p.answer, before)
	}
}

// checkAnswer checks the answer of a successful call.
func (s *scenario) checkAnswer(call string, got answer, before []lock) {
	want := lock{channel: "house", kind: messageType, name: "front desk"}
	switch call {
	case setLock:
		want.ttl = 30
	case acquireLock:
		want.ttl, want.rev = 30, got.rev
		s.checkToken("ann", got.rev)
	case getLock:
		want.name = ""
		if len(got.locks) != len(before) || len(before) > 0 && got.locks[0] != before[0] {
			s.Errorf("locks for ann = %v, want %v as for dora", got.locks, before)
		}
	}
	if got.lock != want {
		s.Errorf("answer = %+v, want %+v", got.lock, want)
	}
}

// checkToken checks that the fencing token of a user that acquired the lock is larger
// than all earlier ones.
func (s *scenario) checkToken(name string, rev uint64) {
	for other, old := range s.revs {
		if rev <= old {
			s.Errorf("token of %s = %d, want more than %s's %d", name, rev, other, old)
		}
	}
	if rev == 0 {
		s.Errorf("token of %s = 0", name)
	}
	s.revs[name] = rev
}

func (s *scenario) checkWaiter(name string, p *pendingCall, want int32) {
	if p == nil {
		return
	}
	if want == continues {
		if p.isDone() {
			s.Errorf("waiting call of %s ended: %v", name, p.err)
		}
		return
	}
	if got := p.wait(); got != want {
		s.Errorf("code of the waiting call of %s = %d, want %d: %v", name, got, want, p.err)
	}
	if want == granted {
		s.checkToken(name, p.answer.rev)
	}
}

// checkEvents checks that all events describe the lock, with the owner's token.
func (s *scenario) checkEvents(events []event) {
	for _, e := range events {
		want := lock{"house", messageType, "front desk", e.owner, 30, 0}
		if e.owner != "" {
			want.rev = s.revs[e.owner]
		}
		if e.lock != want {
			s.Errorf("event %v describes %+v, want %+v", e.kind, e.lock, want)
		}
	}
}

// finish calls releaseLock for the first holder, which may have lost the lock, and checks
// that the remaining waiters acquire it in turn.
func (s *scenario) finish(late int32) {
	holder := s.firstHolder()
	if holder == nil {
		return
	}
	if got := holder.code(releaseLock, frontDesk); got != late {
		s.Errorf("code of the first holder's releaseLock = %d, want %d", got, late)
	}
	for _, p := range []*pendingCall{s.cidCall, s.annCall} {
		if p == nil || p.isDone() && p.err != nil {
			continue
		}
		if got := p.wait(); got != 0 {
			s.Errorf("waiting call of %s = %v, want the lock", p.name, p.err)
		}
		p.must(releaseLock, frontDesk)
	}
}

func TestSubscribe_Snapshot(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		for _, row := range []struct {
			state string
			want  []lock
		}{
			{absent, nil},
			{free, []lock{{name: "front desk", ttl: 30}}},
			{heldByAnn, []lock{{name: "front desk", owner: "ann", ttl: 30}}},
			{heldByBobCidWaits, []lock{{name: "front desk", owner: "bob", ttl: 30}}},
		} {
			p.runWithEnv(t, "of a lock "+row.state, func(w *env) {
				s := newScenario(w, row.state)
				_, got := w.user("eve").subscribe(frontDesk)
				for i := range row.want {
					row.want[i].rev = s.revs[row.want[i].owner]
				}
				if !slices.Equal(got, row.want) {
					s.Errorf("snapshot = %+v, want %+v", got, row.want)
				}
			})
		}
	})
}

// TestOperationTable_Complete checks that the table has all calls for all states.
func TestOperationTable_Complete(t *testing.T) {
	want := map[string]int{setLock: 1, acquireLock: 2, releaseLock: 1, revokeLock: 3, getLock: 1, removeLock: 1}
	states := map[string]bool{}
	for _, group := range table {
		states[group.state] = true
		got, names := map[string]int{}, map[string]bool{}
		for _, r := range group.rows {
			got[r.call]++
			names[r.name(group.state)] = true
		}
		if !maps.Equal(got, want) || len(names) != len(group.rows) {
			t.Errorf("rows for a lock %s = %v, want %v", group.state, names, want)
		}
	}
	if len(states) != len(table) || len(table) != 8 {
		t.Errorf("%d states in %d groups, want 8 and 8", len(states), len(table))
	}
}

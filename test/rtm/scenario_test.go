package rtm

import (
	"maps"
	"slices"
	"strings"
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

// scene is a world in which something has been arranged, and those who take part.
type scenario struct {
	*env
	state            string
	ann, bob, cid    user
	dora             *eventRecorder // sees what happens in the channel
	sessions         []*eventRecorder
	annCall, cidCall *pendingCall
	revs             map[string]uint64 // with which a user got the lock
}

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
	if strings.Contains(state, "cid waits") {
		s.cidCall = s.startWaiting(s.cid, 1)
	}
	switch state {
	case annWaits:
		s.annCall = s.startWaiting(s.ann, 1)
	case cidAndAnnWait:
		s.annCall = s.startWaiting(s.ann, 2)
	}
	for _, session := range s.sessions {
		session.sessionEvents()
	}
	s.dora, _ = w.user("dora").subscribe(frontDesk)
	return s
}

// holder is who holds the lock at first, if somebody does.
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

// wait lets the user wait for the lock as the nth.
func (s *scenario) startWaiting(u user, n int) *pendingCall {
	p := u.start(acquireLock, frontDesk.withRetry())
	s.waitForWaiters(frontDesk, n)
	return p
}

// play lets ann call and looks at everything that may come of it.
func (s *scenario) run(r row) {
	before := s.dora.locks(frontDesk)
	s.call(r, before)
	s.checkWaiter("ann", s.annCall, r.ann)
	s.checkWaiter("cid", s.cidCall, r.cid)
	if got := s.dora.state(frontDesk); got != r.after {
		s.Errorf("afterwards the lock is %s, want %s", got, r.after)
	}
	seen := s.dora.channelEvents()
	var heard []event
	for _, session := range s.sessions {
		heard = append(heard, session.sessionEvents()...)
	}
	if got := describe(seen); got != r.channel {
		s.Errorf("the channel sees %q, want %q", got, r.channel)
	}
	if got := describe(heard); got != r.sessions {
		s.Errorf("the sessions hear %q, want %q", got, r.sessions)
	}
	s.checkEvents(append(seen, heard...))
	s.finish(r.late)
}

// call makes the call and checks its answer.
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
		s.Fatalf("the call ends with %d, want %d: %v", got, r.code, p.err)
	}
	if r.code == 0 {
		s.checkAnswer(r.call, p.answer, before)
	}
}

// checkAnswer checks everything that a call is told that succeeds.
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
			s.Errorf("ann is told %v, dora %v", got.locks, before)
		}
	}
	if got.lock != want {
		s.Errorf("the answer is %+v, want %+v", got.lock, want)
	}
}

// took notes the fencing token of a user who got the lock, which is to be larger than all
// before.
func (s *scenario) checkToken(name string, rev uint64) {
	for other, old := range s.revs {
		if rev <= old {
			s.Errorf("%s has the token %d, after %s's %d", name, rev, other, old)
		}
	}
	if rev == 0 {
		s.Errorf("%s has no token", name)
	}
	s.revs[name] = rev
}

func (s *scenario) checkWaiter(name string, p *pendingCall, want int32) {
	if p == nil {
		return
	}
	if want == continues {
		if p.isDone() {
			s.Errorf("%s waits no more: %v", name, p.err)
		}
		return
	}
	if got := p.wait(); got != want {
		s.Errorf("%s's waiting ends with %d, want %d: %v", name, got, want, p.err)
	}
	if want == granted {
		s.checkToken(name, p.answer.rev)
	}
}

// checkEvents checks what is the same of all events here, and their tokens.
func (s *scenario) checkEvents(events []event) {
	for _, e := range events {
		want := lock{"house", messageType, "front desk", e.owner, 30, 0}
		if e.owner != "" {
			want.rev = s.revs[e.owner]
		}
		if e.lock != want {
			s.Errorf("%v is about %+v, want %+v", e.kind, e.lock, want)
		}
	}
}

// finish lets the first holder release the lock, whether or not he still has it, and
// those who still wait get it in turn.
func (s *scenario) finish(late int32) {
	holder := s.firstHolder()
	if holder == nil {
		return
	}
	if got := holder.code(releaseLock, frontDesk); got != late {
		s.Errorf("releaseLock of who has held it ends with %d, want %d", got, late)
	}
	for _, p := range []*pendingCall{s.cidCall, s.annCall} {
		if p == nil || p.isDone() && p.err != nil {
			continue
		}
		if got := p.wait(); got != 0 {
			s.Errorf("%s does not get the lock in the end: %v", p.name, p.err)
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
					s.Errorf("the snapshot is %+v, want %+v", got, row.want)
				}
			})
		}
	})
}

// TestTheTableIsComplete compares the table with the calls and states that there are.
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
			t.Errorf("of a lock %s there are %v, want %v", group.state, names, want)
		}
	}
	if len(states) != len(table) || len(table) != 8 {
		t.Errorf("there are %d states in %d groups, want 8", len(states), len(table))
	}
}

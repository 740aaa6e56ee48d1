package linearizability

import (
	"fmt"
	"hash/maphash"
	"time"

	"github.com/anishathalye/porcupine"
)

// maxKeys is how many locks one state has: those that a LockAll ties together.
const maxKeys = 4

// state is what the locks may be between two operations. States are compared with ==.
type state struct {
	locks [maxKeys]lock
	now   time.Duration // it is not earlier
}

// lock is one lock of a state. A lease that was not seen to end is kept, with the bounds
// of when it ends.
type lock struct {
	owner string // empty if nobody holds it; the rest is zero then, except last
	token uint64 // zero if it was not told
	last  uint64 // the largest token told for the key
	from  time.Duration
	to    time.Duration // the lease ends at some moment not before from and not after to
	span  time.Duration // how long after its grant the lease surely is over
}

// model returns the contract as porcupine takes it: a step from one state leads to the
// states that explain its outcome.
func (r Rules) model() porcupine.Model {
	seed := maphash.MakeSeed()
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{state{}} },
		Step: func(s, input, _ any) []any {
			var next []any
			for _, n := range r.next(s.(state), input.(step)) {
				next = append(next, n)
			}
			return next
		},
		Hash:              func(s any) uint64 { return maphash.Comparable(seed, s.(state)) },
		DescribeOperation: func(input, _ any) string { return input.(step).String() },
		DescribeState:     func(s any) string { return s.(state).String() },
	}
	return m.ToModel()
}

// next returns the states that st may lead to with its outcome; none if it cannot have
// this outcome in the state.
func (r Rules) next(s state, st step) []state {
	if st.until < s.now {
		return nil
	}
	s = s.bounded(st)
	l := s.locks[st.locks[0]]
	other := func(owner string) bool { return owner != st.Owner }
	switch {
	case st.repeat > 0:
		return append(r.effect(s, st, 0), s)
	case st.Outcome == Unknown && !st.waits(): // who waits may hold in passing
		return append(r.effect(s, st, 0), s)
	}
	switch st.Outcome {
	case Granted:
		return append(r.effect(s, st, st.Token), s.passed(st, st.Kind == Renew, st.owns)...)
	case Freed:
		return append(r.effect(s, st, 0), s.passed(st, true, st.owns)...)
	case NotOwner:
		return append(s.only(st.Owner != "" && other(l.owner) && s.mayHold(l)), s.passed(st, st.Owner != "", other)...)
	case NotHeld:
		return s.seenFree(st)
	case Seen:
		if st.Holder == "" {
			return s.seenFree(st)
		}
		return append(s.seenHeld(st, st.Holder), s.passed(st, true, func(owner string) bool { return owner == st.Holder })...)
	case Refused:
		return s.only(st.queued || s.anyHeld(st))
	}
	return []state{s} // a wait that failed has no lock
}

// effect returns the state after an operation that changes it, or none if it cannot.
// token is zero if it was not told.
func (r Rules) effect(s state, st step, token uint64) []state {
	i := st.locks[0]
	switch st.Kind {
	case TryLock, Lock, LockAll:
		return s.granted(st, r.lease(s, st, token))
	case Renew:
		return r.renewed(s, st, token)
	case Unlock, Revoke:
		if l := s.locks[i]; s.mayHold(l) && st.owns(l.owner) {
			s.locks[i] = l.freed()
			return []state{s}
		}
	}
	return nil
}

// owns tells whether an operation of the holder's may be meant for a lock of owner.
func (s step) owns(owner string) bool {
	return owner == s.Owner || s.Kind == Revoke && s.Owner == ""
}

// lease is what st grants in the state.
func (r Rules) lease(s state, st step, token uint64) lock {
	span := plus(r.rounded(st.TTL), r.Slack)
	l := lock{owner: st.Owner, token: token, from: s.now + st.TTL, to: plus(st.until, span), span: span}
	if token != 0 {
		l.from = max(l.from, st.Expires)
	}
	return l
}

// granted gives all locks of st away, if they may be free and the token is larger than
// theirs.
func (s state) granted(st step, lease lock) []state {
	for _, i := range st.locks {
		last := s.locks[i].last
		if !s.free(i, st) || lease.token != 0 && lease.token <= last {
			return nil
		}
		lease.from = max(lease.from, s.now+st.TTL)
		lease.last = max(last, lease.token)
		s.locks[i] = lease
	}
	return []state{s}
}

// renewed lets the owner's lock last anew.
func (r Rules) renewed(s state, st step, token uint64) []state {
	l := &s.locks[st.locks[0]]
	if l.owner != st.Owner || !s.mayHold(*l) || token != 0 && !l.has(token) {
		return nil
	}
	lease := r.lease(s, st, token)
	l.from, l.to, l.span = lease.from, lease.to, lease.span
	return []state{s}
}

// seenHeld expects owner to hold the lock with the token that st was told.
func (s state) seenHeld(st step, owner string) []state {
	l := &s.locks[st.locks[0]]
	if l.owner != owner || !s.mayHold(*l) || !l.has(st.Token) {
		return nil
	}
	return []state{s}
}

// seenFree expects that nobody holds the lock, and so nobody does from here on.
func (s state) seenFree(st step) []state {
	if !s.free(st.locks[0], st) {
		return nil
	}
	return []state{s}
}

// passed expects that somebody right holds the lock, but only in passing: before and
// afterwards it is free.
func (s state) passed(st step, can bool, right func(owner string) bool) []state {
	if !can || !st.passes(right) || st.Token != 0 && st.Token <= s.locks[st.locks[0]].last {
		return nil
	}
	return s.seenFree(st)
}

// bounded notes what the times of st say: it is not before its call, and what was granted
// was granted before its return.
func (s state) bounded(st step) state {
	s.now = max(s.now, st.Call)
	for _, i := range st.locks {
		if l := &s.locks[i]; l.owner != "" {
			l.to = min(l.to, plus(st.until, l.span))
		}
	}
	return s
}

// only returns the state if ok.
func (s state) only(ok bool) []state {
	if !ok {
		return nil
	}
	return []state{s}
}

func (s state) anyHeld(st step) bool {
	for _, i := range st.locks {
		if s.mayHold(s.locks[i]) {
			return true
		}
	}
	return false
}

// mayHold tells whether the lock may be held now.
func (s state) mayHold(l lock) bool { return l.owner != "" && s.now < l.to }

// free frees the lock, if its lease may be over before st is.
func (s *state) free(i int, st step) bool {
	l := &s.locks[i]
	if l.owner != "" && !st.frees(l.owner) {
		if st.until < l.from {
			return false
		}
		s.now = max(s.now, l.from)
	}
	*l = l.freed()
	return true
}

// has tells whether the lock has the token, and notes it if that was not known.
func (l *lock) has(token uint64) bool {
	if l.token == 0 && token > l.last {
		l.token, l.last = token, token
	}
	return l.token == token
}

func (l lock) freed() lock { return lock{last: l.last} }

// String tells of the locks that were ever held.
func (s state) String() string {
	text := ""
	for i, l := range s.locks {
		if l != (lock{}) {
			text += fmt.Sprintf("; lock %d %v", i, l)
		}
	}
	if text == "" {
		return "all free"
	}
	return text[len("; "):]
}

// String implements [fmt.Stringer].
func (l lock) String() string {
	if l.owner == "" {
		return fmt.Sprintf("free after token %d", l.last)
	}
	end := "ever"
	if l.to < forever {
		end = l.to.String()
	}
	return fmt.Sprintf("held by %s with token %d, ends from %v to %s", l.owner, l.token, l.from, end)
}

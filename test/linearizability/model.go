package linearizability

import (
	"fmt"
	"hash/maphash"
	"time"

	"github.com/anishathalye/porcupine"
)

// maxKeys is the largest number of keys that LockAll calls may connect.
const maxKeys = 4

// state is a possible state of the locks between two operations. States are compared with
// ==.
type state struct {
	locks [maxKeys]lock
	now   time.Duration // a lower bound of the time
}

// lock is one lock of a state. It keeps its lease, with the bounds of its end, until a
// result shows that the lease has ended.
type lock struct {
	owner string // empty if the lock is free; all fields but last are zero then
	token uint64 // zero if unknown
	last  uint64 // the largest known token of the key
	from  time.Duration
	to    time.Duration // the lease ends between from and to
	span  time.Duration // the longest time from the grant to the end of the lease
}

// model returns the contract as a porcupine model: a step from one state leads to the
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

// next returns the states that st may lead to with its outcome, and none if this outcome
// is not allowed in the state.
func (r Rules) next(s state, st step) []state {
	if st.until < s.now {
		return nil
	}
	s = s.bounded(st)
	l := s.locks[st.locks[0]]
	other := func(owner string) bool { return owner != st.Owner }
	switch {
	case st.retry > 0:
		return append(r.effect(s, st, 0), s)
	case st.Outcome == Unknown && !st.waits(): // a waiter is in briefOwners
		return append(r.effect(s, st, 0), s)
	}
	switch st.Outcome {
	case Granted:
		return append(r.effect(s, st, st.Token), s.heldBriefly(st, st.Kind == Renew, st.matches)...)
	case Freed:
		return append(r.effect(s, st, 0), s.heldBriefly(st, true, st.matches)...)
	case NotOwner:
		return append(s.when(st.Owner != "" && other(l.owner) && s.mayHold(l)), s.heldBriefly(st, st.Owner != "", other)...)
	case NotHeld:
		return s.seenFree(st)
	case Seen:
		if st.Holder == "" {
			return s.seenFree(st)
		}
		return append(s.seenHeld(st, st.Holder), s.heldBriefly(st, true, func(owner string) bool { return owner == st.Holder })...)
	case Refused:
		return s.when(st.queued || s.anyHeld(st))
	}
	return []state{s} // a wait that failed does not acquire
}

// effect returns the state after an operation that takes effect, or none if it cannot.
// token is zero if it is unknown.
func (r Rules) effect(s state, st step, token uint64) []state {
	i := st.locks[0]
	switch st.Kind {
	case TryLock, Lock, LockAll:
		return s.granted(st, r.lease(s, st, token))
	case Renew:
		return r.renewed(s, st, token)
	case Unlock, Revoke:
		if l := s.locks[i]; s.mayHold(l) && st.matches(l.owner) {
			s.locks[i] = l.freed()
			return []state{s}
		}
	}
	return nil
}

// matches reports whether the operation applies to a lock of the owner.
func (s step) matches(owner string) bool {
	return owner == s.Owner || s.Kind == Revoke && s.Owner == ""
}

// lease returns the lock that st grants in the state.
func (r Rules) lease(s state, st step, token uint64) lock {
	span := plus(r.rounded(st.TTL), r.Slack)
	l := lock{owner: st.Owner, token: token, from: s.now + st.TTL, to: plus(st.until, span), span: span}
	if token != 0 {
		l.from = max(l.from, st.Expires)
	}
	return l
}

// granted returns the state in which st holds all its locks, if they may be free and the
// token is larger than theirs.
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

// renewed returns the state after a renewal by the owner.
func (r Rules) renewed(s state, st step, token uint64) []state {
	l := &s.locks[st.locks[0]]
	if l.owner != st.Owner || !s.mayHold(*l) || token != 0 && !l.hasToken(token) {
		return nil
	}
	lease := r.lease(s, st, token)
	l.from, l.to, l.span = lease.from, lease.to, lease.span
	return []state{s}
}

// seenHeld returns the state if owner may hold the lock with the token that st returned.
func (s state) seenHeld(st step, owner string) []state {
	l := &s.locks[st.locks[0]]
	if l.owner != owner || !s.mayHold(*l) || !l.hasToken(st.Token) {
		return nil
	}
	return []state{s}
}

// seenFree returns the state in which the lock is free, if it may be.
func (s state) seenFree(st step) []state {
	if !s.free(st.locks[0], st) {
		return nil
	}
	return []state{s}
}

// heldBriefly returns the state if an owner that matches may hold the lock for a moment,
// before and after which it is free.
func (s state) heldBriefly(st step, can bool, match func(owner string) bool) []state {
	if !can || !st.briefHolder(match) || st.Token != 0 && st.Token <= s.locks[st.locks[0]].last {
		return nil
	}
	return s.seenFree(st)
}

// bounded applies the times of st: st takes effect after its call, and earlier grants
// happened before its return.
func (s state) bounded(st step) state {
	s.now = max(s.now, st.Call)
	for _, i := range st.locks {
		if l := &s.locks[i]; l.owner != "" {
			l.to = min(l.to, plus(st.until, l.span))
		}
	}
	return s
}

// when returns the state if ok, and none otherwise.
func (s state) when(ok bool) []state {
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

// mayHold reports whether the lock may be held now.
func (s state) mayHold(l lock) bool { return l.owner != "" && s.now < l.to }

// free frees the lock, if its lease may end before st does.
func (s *state) free(i int, st step) bool {
	l := &s.locks[i]
	if l.owner != "" && !st.mayBeFreed(l.owner) {
		if st.until < l.from {
			return false
		}
		s.now = max(s.now, l.from)
	}
	*l = l.freed()
	return true
}

// hasToken reports whether the lock may have the token, and records it if the lock's
// token was unknown.
func (l *lock) hasToken(token uint64) bool {
	if l.token == 0 && token > l.last {
		l.token, l.last = token, token
	}
	return l.token == token
}

func (l lock) freed() lock { return lock{last: l.last} }

// String describes the locks that have been held.
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

package history

import (
	"fmt"
	"hash/maphash"
	"time"

	"github.com/anishathalye/porcupine"
)

// maxKeys is how many locks one state has: those that a LockAll ties together.
const maxKeys = 4

// state is what the locks may be between two operations. States are compared with ==.
type state [maxKeys]lock

// lock is one lock of a state. A lease that was not seen to end is kept, with the bounds of when it ends.
type lock struct {
	owner string // empty if nobody holds it; the rest is zero then, except last
	token uint64 // zero if it was not told
	last  uint64 // the largest token told for the key
	from  time.Duration
	to    time.Duration // the lease ends at some moment not before from and not after to
	span  time.Duration // how long after its grant the lease surely is over

	// passing says that the lock was granted to a Lock that was cancelled and ends with it, renewed by others or not.
	passing bool
}

// model returns the contract as porcupine takes it: a step from one state leads to the states that explain its outcome.
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

// next returns the states that st may lead to with its outcome; none if the outcome cannot be in this state.
func (r Rules) next(s state, st step) []state {
	s = s.bounded(st)
	if st.Outcome == Unknown || st.repeat {
		return append(r.effect(s, st, 0), s)
	}
	switch st.Outcome {
	case Granted:
		return r.effect(s, st, st.Token)
	case Freed:
		return r.effect(s, st, 0)
	case Refused:
		return s.only(st.queued || s.anyHeld(st))
	case NotHeld:
		return s.seenFree(st)
	case NotOwner:
		l := s[st.locks[0]]
		return s.only(st.Owner != "" && l.owner != st.Owner && l.mayBeHeld(st))
	case Seen:
		if st.Holder == "" {
			return s.seenFree(st)
		}
		return s.seenHeld(st, st.Holder)
	case Cancelled:
		return append(r.passing(s, st), s)
	}
	return nil
}

// effect returns the state after an operation that changes it, or none if it cannot. token is zero if it was not told.
func (r Rules) effect(s state, st step, token uint64) []state {
	i := st.locks[0]
	switch st.Kind {
	case TryLock, Lock, LockAll:
		return s.granted(st, r.lease(st, token))
	case Renew:
		return r.renewed(s, st, token)
	case Unlock, Revoke:
		if l := s[i]; l.mayBeHeld(st) && (l.owner == st.Owner || st.Kind == Revoke && st.Owner == "") {
			s[i] = l.freed()
			return []state{s}
		}
	}
	return nil
}

// lease is what st grants.
func (r Rules) lease(st step, token uint64) lock {
	span := plus(r.rounded(st.TTL), r.Slack)
	l := lock{owner: st.Owner, token: token, from: st.Call + st.TTL, to: plus(st.until, span), span: span}
	if token != 0 {
		l.from = max(l.from, st.Expires)
	}
	return l
}

// granted gives all locks of st away, if they may be free and the token is larger than theirs.
func (s state) granted(st step, lease lock) []state {
	for _, i := range st.locks {
		l := s[i]
		if !l.mayBeFree(st) || lease.token != 0 && lease.token <= l.last {
			return nil
		}
		s[i] = lease
		s[i].last = max(l.last, lease.token)
	}
	return []state{s}
}

// passing gives the locks to a Lock that was cancelled: for a moment that nobody tells, and at most until it has returned.
func (r Rules) passing(s state, st step) []state {
	lease := lock{owner: st.Owner, from: st.Call, to: st.Return + 1, span: forever, passing: true}
	if r.troubled(st.Operation) {
		lease.to = plus(lease.to, r.Linger)
	}
	return s.granted(st, lease)
}

// renewed lets the owner's lock last anew.
func (r Rules) renewed(s state, st step, token uint64) []state {
	seen := []state{s}
	if token != 0 {
		seen = s.seenHeld(st, st.Owner)
	} else if l := s[st.locks[0]]; l.owner != st.Owner || !l.mayBeHeld(st) {
		return nil
	}
	for n := range seen {
		if l := &seen[n][st.locks[0]]; !l.passing {
			lease := r.lease(st, token)
			l.from, l.to, l.span = lease.from, lease.to, lease.span
		}
	}
	return seen
}

// seenHeld expects owner to hold the lock with the token that st was told.
func (s state) seenHeld(st step, owner string) []state {
	l := &s[st.locks[0]]
	if l.owner != owner || !l.mayBeHeld(st) {
		return nil
	}
	if l.token == 0 && st.Token > l.last {
		l.token, l.last = st.Token, st.Token
	}
	return s.only(l.token == st.Token)
}

// seenFree expects that nobody holds the lock, and so nobody does from here on.
func (s state) seenFree(st step) []state {
	l := &s[st.locks[0]]
	if !l.mayBeFree(st) {
		return nil
	}
	*l = l.freed()
	return []state{s}
}

// bounded notes that whatever was granted was granted before st returned.
func (s state) bounded(st step) state {
	for _, i := range st.locks {
		if s[i].owner != "" {
			s[i].to = min(s[i].to, plus(st.until, s[i].span))
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
		if s[i].mayBeHeld(st) {
			return true
		}
	}
	return false
}

// mayBeHeld tells whether the lock may be held in some moment of st.
func (l lock) mayBeHeld(st step) bool { return l.owner != "" && st.Call < l.to }

// mayBeFree tells whether the lock may be free in some moment of st.
func (l lock) mayBeFree(st step) bool { return l.owner == "" || st.until >= l.from }

func (l lock) freed() lock { return lock{last: l.last} }

// String tells who holds the locks that were ever held.
func (s state) String() string {
	text := ""
	for i, l := range s {
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

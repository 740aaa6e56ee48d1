package linearizability

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// op returns an operation of owner on the key "disk", between two times in milliseconds,
// with a lease of 10 ms.
func op(kind Kind, owner string, outcome Outcome, call, ret int64, change ...func(*Operation)) Operation {
	o := Operation{
		Kind: kind, Keys: []string{"disk"}, Owner: owner, TTL: 10 * ms, Outcome: outcome,
		Call: time.Duration(call) * ms, Return: time.Duration(ret) * ms, Before: call, After: ret,
	}
	for _, c := range change {
		c(&o)
	}
	return o
}

// grant returns a TryLock that succeeded.
func grant(owner string, token uint64, call, ret int64, change ...func(*Operation)) Operation {
	return op(TryLock, owner, Granted, call, ret, append(change, func(o *Operation) { o.Token = token })...)
}

func read(holder string, token uint64, call, ret int64) Operation {
	return op(Read, "", Seen, call, ret, func(o *Operation) { o.Holder, o.Token = holder, token })
}

func token(token uint64) func(*Operation) { return func(o *Operation) { o.Token = token } }

func ttl(d time.Duration) func(*Operation) { return func(o *Operation) { o.TTL = d } }

func expires(at time.Duration) func(*Operation) { return func(o *Operation) { o.Expires = at } }

func ctxEnd(at time.Duration) func(*Operation) { return func(o *Operation) { o.CtxEnd = at } }

func keys(keys ...string) func(*Operation) { return func(o *Operation) { o.Keys = keys } }

func waiting(o *Operation) { o.Wait = true }

// Rules that stores may declare.
var (
	exact    = Rules{}
	slack    = Rules{Unit: 10 * ms, Slack: 2 * ms}
	handover = Rules{Handover: true}
	delayed  = Rules{RequestDelay: 20 * ms}
	faults   = Rules{FaultDelay: 5 * ms, Linger: 20 * ms}
	retries  = Rules{FaultDelay: 5 * ms, Retries: 3}
)

// history is a history, and whether the contract allows it.
type history struct {
	name  string
	legal bool
	rules Rules
	ops   []Operation
}

func TestCheck(t *testing.T) {
	for _, rows := range [][]history{ownerHistories, leaseHistories, tokenHistories, waitHistories, unknownHistories, severalHistories} {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				err := row.rules.Check(row.ops, time.Minute)
				var v *Violation
				if row.legal && err != nil || !row.legal && !errors.As(err, &v) {
					t.Errorf("got the error %[2]v, but legal is %[1]v", row.legal, err)
				}
			})
		}
	}
}

var ownerHistories = []history{
	{"a lock is acquired, released and acquired again", true, exact, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", Freed, 2, 3), grant("bob", 2, 4, 5)}},
	{"a held lock is granted", false, exact, []Operation{grant("ann", 1, 0, 1), grant("bob", 2, 2, 3)}},
	{"a held lock is granted to its holder", false, exact, []Operation{grant("ann", 1, 0, 1), grant("ann", 2, 2, 3)}},
	{"two grants overlap with a release between them", true, exact, []Operation{
		grant("ann", 1, 0, 9), grant("bob", 2, 0, 9), op(Unlock, "ann", Freed, 0, 9)}},
	{"two overlapping grants", false, exact, []Operation{grant("ann", 1, 0, 9), grant("bob", 2, 0, 9)}},
	{"a held lock is refused", true, exact, []Operation{grant("ann", 1, 0, 1), op(TryLock, "bob", Refused, 2, 3)}},
	{"a free lock is refused", false, exact, []Operation{op(TryLock, "bob", Refused, 2, 3)}},
	{"a released lock is refused", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", Freed, 2, 3), op(TryLock, "bob", Refused, 4, 5)}},
	{"a lock is refused while it is being released", true, exact, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", Freed, 2, 4), op(TryLock, "bob", Refused, 3, 5)}},
	{"another owner may not unlock", true, exact, []Operation{grant("ann", 1, 0, 1), op(Unlock, "bob", NotOwner, 2, 3)}},
	{"another owner unlocks", false, exact, []Operation{grant("ann", 1, 0, 1), op(Unlock, "bob", Freed, 2, 3)}},
	{"another owner gets ErrNotHeld", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "bob", NotHeld, 2, 3)}},
	{"the holder gets ErrNotOwner", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Renew, "ann", NotOwner, 2, 3)}},
	{"a free lock is unlocked", false, exact, []Operation{op(Unlock, "ann", Freed, 2, 3)}},
	{"any holder is revoked", true, exact, []Operation{
		grant("ann", 1, 0, 1), op(Revoke, "", Freed, 2, 3), op(Unlock, "ann", NotHeld, 4, 5)}},
	{"a lock is held after it was revoked", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Revoke, "", Freed, 2, 3), op(Unlock, "ann", Freed, 4, 5)}},
	{"the wrong owner is revoked", false, exact, []Operation{grant("ann", 1, 0, 1), op(Revoke, "bob", Freed, 2, 3)}},
	{"a read returns the holder", true, exact, []Operation{grant("ann", 1, 0, 1), read("ann", 1, 2, 3)}},
	{"a read finds a held lock free", false, exact, []Operation{grant("ann", 1, 0, 1), read("", 0, 2, 3)}},
	{"a read returns a previous holder", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", Freed, 2, 3), read("ann", 1, 4, 5)}},
}

var leaseHistories = []history{
	{"a lease ends", true, exact, []Operation{grant("ann", 1, 0, 1), grant("bob", 2, 9, 10)}},
	{"a lease ends too early", false, exact, []Operation{grant("ann", 1, 0, 1), grant("bob", 2, 8, 9)}},
	{"a lease ends as early as its call allows", true, exact, []Operation{
		grant("ann", 1, 0, 8), op(Unlock, "ann", NotHeld, 9, 10)}},
	{"a lease lasts as long as its return allows", true, exact, []Operation{
		grant("ann", 1, 0, 8), op(Unlock, "ann", Freed, 17, 20)}},
	{"a lease lasts too long", false, exact, []Operation{grant("ann", 1, 0, 8), op(Unlock, "ann", Freed, 18, 20)}},
	{"a lease lasts longer by rounding and slack", true, slack, []Operation{
		grant("ann", 1, 0, 8, ttl(9*ms)), op(Unlock, "ann", Freed, 19, 20)}},
	{"a lease lasts longer than rounding and slack", false, slack, []Operation{
		grant("ann", 1, 0, 8, ttl(9*ms)), op(Unlock, "ann", Freed, 20, 21)}},
	{"a later result shows that a lease began early", false, exact, []Operation{
		grant("ann", 1, 0, 8), read("ann", 1, 1, 2), op(Unlock, "ann", Freed, 13, 14)}},
	{"a lease ends before its Expires", false, exact, []Operation{
		grant("ann", 1, 0, 8, expires(15*ms)), op(Unlock, "ann", NotHeld, 9, 10)}},
	{"a lease that was seen to end lasts", false, exact, []Operation{
		grant("ann", 1, 0, 8), read("", 0, 11, 12), read("ann", 1, 13, 14)}},
	{"a renewed lease lasts", true, exact, []Operation{
		grant("ann", 1, 0, 1), op(Renew, "ann", Granted, 8, 9, token(1)), op(Unlock, "ann", Freed, 17, 18)}},
	{"a renewed lease ends too early", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Renew, "ann", Granted, 8, 9, token(1)), read("", 0, 11, 12)}},
	{"a renewal shortens a lease", true, exact, []Operation{
		grant("ann", 1, 0, 1), op(Renew, "ann", Granted, 2, 3, token(1), ttl(2*ms)), read("", 0, 5, 6)}},
	{"a renewal acquires a lock whose lease ended", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Renew, "ann", Granted, 12, 13, token(1))}},
	{"a grant expires after its lease", false, exact, []Operation{grant("ann", 1, 0, 1, expires(12*ms))}},
}

var tokenHistories = []history{
	{"tokens increase", true, exact, []Operation{grant("ann", 1, 0, 1), grant("bob", 3, 12, 13)}},
	{"two grants have one token", false, exact, []Operation{grant("ann", 1, 0, 1), grant("bob", 1, 12, 13)}},
	{"tokens decrease", false, exact, []Operation{grant("ann", 2, 0, 1), grant("bob", 1, 12, 13)}},
	{"tokens decrease after an unlock", false, exact, []Operation{
		grant("ann", 2, 0, 1), op(Unlock, "ann", Freed, 2, 3), grant("ann", 1, 4, 5)}},
	// The larger token would have to come first.
	{"tokens determine the order", false, exact, []Operation{
		grant("ann", 2, 0, 9), grant("bob", 1, 0, 9), op(Unlock, "ann", Freed, 0, 9), read("bob", 1, 9, 10)}},
	{"a renewal has another token", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Renew, "ann", Granted, 2, 3, token(2))}},
	{"a read returns another token", false, exact, []Operation{grant("ann", 1, 0, 1), read("ann", 2, 2, 3)}},
	{"a grant has no token", false, exact, []Operation{grant("ann", 0, 0, 1)}},
}

var waitHistories = []history{
	{"a free lock is refused because another owner waits", true, exact, []Operation{
		op(Lock, "ann", Granted, 0, 5, token(1)), op(TryLock, "bob", Refused, 0, 1)}},
	{"a free lock is refused after the waiter has returned", false, exact, []Operation{
		op(Lock, "ann", Canceled, 0, 5, ctxEnd(5*ms)), op(TryLock, "bob", Refused, 6, 7)}},
	{"a waiter is granted a held lock", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Lock, "bob", Granted, 2, 3, token(2))}},
	{"a waiter is refused", false, exact, []Operation{grant("ann", 1, 0, 1), op(Lock, "bob", Refused, 2, 3)}},
	{"a canceled waiter holds the lock for a moment", true, exact, []Operation{
		op(Lock, "ann", Canceled, 0, 5, ctxEnd(5*ms)), op(Unlock, "bob", NotOwner, 2, 3), grant("bob", 1, 4, 5)}},
	{"a canceled waiter is renewed and does not hold the lock afterwards", true, exact, []Operation{
		op(Lock, "ann", Canceled, 0, 5, ctxEnd(5*ms)), op(Renew, "ann", Granted, 2, 3, token(1)), grant("bob", 2, 6, 7)}},
	{"a canceled waiter is seen while another owner holds the lock", false, exact, []Operation{
		grant("bob", 1, 0, 1), op(Lock, "ann", Canceled, 2, 5, ctxEnd(5*ms)), read("ann", 2, 3, 4)}},
	{"a canceled waiter holds the lock", false, exact, []Operation{
		op(Lock, "ann", Canceled, 0, 5, ctxEnd(5*ms)), op(Unlock, "bob", NotOwner, 6, 7)}},
	{"a waiter whose cancellation failed lingers", true, faults, []Operation{
		op(Lock, "ann", Canceled, 0, 8, ctxEnd(3*ms)), op(Unlock, "bob", NotOwner, 27, 28)}},
	{"a waiter whose cancellation failed lingers too long", false, faults, []Operation{
		op(Lock, "ann", Canceled, 0, 8, ctxEnd(3*ms)), op(Unlock, "bob", NotOwner, 28, 29)}},
	{"a waiter whose cancellation succeeded lingers", false, faults, []Operation{
		op(Lock, "ann", Canceled, 0, 8, ctxEnd(7*ms)), op(Unlock, "bob", NotOwner, 9, 10)}},
	{"a lock is handed over, revoked and handed over again", true, handover, []Operation{
		op(Lock, "ann", Granted, 0, 9, token(2)), read("ann", 1, 1, 2), op(Revoke, "", Freed, 3, 4),
		read("", 0, 5, 6), read("ann", 2, 7, 8)}},
	{"one call is granted the lock twice without handover", false, exact, []Operation{
		op(Lock, "ann", Granted, 0, 9, token(2)), read("ann", 1, 1, 2), op(Revoke, "", Freed, 3, 4),
		read("", 0, 5, 6), read("ann", 2, 7, 8)}},
	{"a lock is handed over while another owner holds it", false, handover, []Operation{
		grant("bob", 1, 0, 1), op(Lock, "ann", Granted, 0, 20, token(2)), read("ann", 2, 3, 4)}},
}

var unknownHistories = []history{
	{"a failed call acquired the lock", true, exact, []Operation{
		op(TryLock, "ann", Unknown, 0, 1), op(Unlock, "ann", Freed, 2, 3)}},
	{"a failed call did not acquire the lock", true, exact, []Operation{
		op(TryLock, "ann", Unknown, 0, 1), op(Unlock, "ann", NotHeld, 2, 3)}},
	{"a failed call acquires the lock later", true, delayed, []Operation{
		op(TryLock, "ann", Unknown, 0, 1), read("", 0, 2, 3), read("ann", 4, 20, 21)}},
	{"a failed call acquires the lock too late", false, delayed, []Operation{
		op(TryLock, "ann", Unknown, 0, 1), read("", 0, 22, 23), read("ann", 4, 24, 25)}},
	{"a failed call acquires the lock twice", false, delayed, []Operation{
		op(TryLock, "ann", Unknown, 0, 1), op(Unlock, "ann", Freed, 2, 3), op(Unlock, "ann", Freed, 4, 5)}},
	{"a failed call acquires a held lock", false, delayed, []Operation{
		grant("bob", 1, 0, 1), op(TryLock, "ann", Unknown, 0, 1), read("ann", 2, 2, 3)}},
	{"a failed call holds the lock longer than its lease", false, delayed, []Operation{
		op(TryLock, "ann", Unknown, 0, 1), read("ann", 1, 2, 3), read("ann", 1, 13, 14)}},
	{"a failed unlock had its effect", true, delayed, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", Unknown, 2, 3), read("ann", 1, 4, 5), read("", 0, 6, 7)}},
	{"a failed unlock freed another owner's lock", false, delayed, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "bob", Unknown, 2, 3), read("", 0, 6, 7)}},
	{"a failed renewal had its effect", true, delayed, []Operation{
		grant("ann", 1, 0, 1), op(Renew, "ann", Unknown, 7, 8), read("ann", 1, 16, 17)}},
	{"a retried unlock gets ErrNotHeld", true, retries, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", NotHeld, 2, 8)}},
	{"an unlock that was not retried gets ErrNotHeld", false, retries, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", NotHeld, 2, 6)}},
	{"a retried call is granted the lock, loses it and is granted it again", true, retries, []Operation{
		grant("ann", 2, 0, 9), op(Unlock, "ann", Freed, 2, 3), read("", 0, 4, 5), op(Unlock, "ann", Freed, 10, 11)}},
	{"a call without retries is granted the lock, loses it and is granted it again", false, exact, []Operation{
		grant("ann", 2, 0, 9), op(Unlock, "ann", Freed, 2, 3), read("", 0, 4, 5), op(Unlock, "ann", Freed, 10, 11)}},
	{"a renewed lease ends before the renewal is retried", true, retries, []Operation{
		grant("ann", 1, 0, 1, ttl(30*ms)), op(Renew, "ann", NotHeld, 2, 9, ttl(ms))}},
}

var severalHistories = []history{
	{"several locks are acquired", true, exact, []Operation{
		op(LockAll, "ann", Granted, 0, 1, token(1), keys("disk", "gate")), read("ann", 1, 2, 3),
		op(Unlock, "ann", Freed, 4, 5, keys("gate")), op(Unlock, "ann", Freed, 6, 7)}},
	{"some of several locks are acquired", false, exact, []Operation{
		op(LockAll, "ann", Granted, 0, 1, token(1), keys("disk", "gate")), read("", 0, 2, 3)}},
	{"several locks are acquired although one is held", false, exact, []Operation{
		grant("bob", 1, 0, 1), op(LockAll, "ann", Granted, 2, 3, token(2), keys("disk", "gate"))}},
	{"several locks are refused because one is held", true, exact, []Operation{
		grant("bob", 1, 0, 1), op(LockAll, "ann", Refused, 2, 3, keys("gate", "disk"))}},
	{"several locks are refused although all are free", false, exact, []Operation{
		grant("bob", 1, 0, 1, keys("lid")), op(LockAll, "ann", Refused, 2, 3, keys("gate", "disk"))}},
	{"a refused call is seen to hold one of several locks", false, exact, []Operation{
		op(LockAll, "ann", Refused, 0, 9, keys("disk", "gate")), grant("bob", 1, 0, 1, keys("gate")), read("ann", 2, 2, 3)}},
	{"one of several locks is acquired before another", false, exact, []Operation{
		op(LockAll, "ann", Granted, 0, 9, token(3), keys("disk", "gate")), read("ann", 3, 1, 2),
		op(Unlock, "bob", NotHeld, 3, 4, keys("gate"))}},
	{"a lock is refused because another owner waits for several", true, exact, []Operation{
		op(LockAll, "ann", Canceled, 0, 9, keys("disk", "gate"), waiting, ctxEnd(9*ms)), op(TryLock, "bob", Refused, 1, 2)}},
	{"locks of different keys are independent", true, exact, []Operation{
		grant("ann", 2, 0, 1), grant("bob", 1, 2, 3, keys("gate"))}},
}

func TestViolation_Error(t *testing.T) {
	err := exact.Check([]Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", Freed, 2, 3), grant("bob", 2, 4, 5), op(Unlock, "ann", Freed, 6, 7),
	}, time.Minute)
	if err == nil {
		t.Fatal("got no violation")
	}
	explained, rest, _ := strings.Cut(err.Error(), "which none of these can follow")
	if !strings.Contains(explained, "TryLock(disk, bob)") || strings.Count(rest, "\n\t") != 1 || !strings.Contains(rest, "Unlock(disk, ann)") {
		t.Error(err)
	}
}

func TestCheck_Timeout(t *testing.T) {
	var ops []Operation
	for i := range int64(40) { // each may have taken effect at any time
		ops = append(ops, op(TryLock, string(rune('a'+i)), Unknown, i, i+1))
	}
	ops = append(ops, op(Unlock, "zoe", NotOwner, 900, 901), op(Unlock, "zoe", Freed, 902, 903))
	if err := (Rules{RequestDelay: time.Minute}).Check(ops, 50*ms); !errors.Is(err, ErrUndecided) {
		t.Errorf("got %v, want ErrUndecided", err)
	}
}

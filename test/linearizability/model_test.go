package linearizability

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// op is what owner was told about the lock of the disk between two moments, in
// milliseconds. Leases are of 10 ms.
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

// grant is a TryLock that succeeded.
func grant(owner string, token uint64, call, ret int64, change ...func(*Operation)) Operation {
	return op(TryLock, owner, Granted, call, ret, append(change, func(o *Operation) { o.Token = token })...)
}

func look(holder string, token uint64, call, ret int64) Operation {
	return op(Look, "", Seen, call, ret, func(o *Operation) { o.Holder, o.Token = holder, token })
}

func token(token uint64) func(*Operation) { return func(o *Operation) { o.Token = token } }

func ttl(d time.Duration) func(*Operation) { return func(o *Operation) { o.TTL = d } }

func expires(at time.Duration) func(*Operation) { return func(o *Operation) { o.Expires = at } }

func cutOff(at time.Duration) func(*Operation) { return func(o *Operation) { o.CtxEnd = at } }

func keys(keys ...string) func(*Operation) { return func(o *Operation) { o.Keys = keys } }

func waiting(o *Operation) { o.Wait = true }

// What some stores declare.
var (
	exact    = Rules{}
	slack    = Rules{Unit: 10 * ms, Slack: 2 * ms}
	handover = Rules{Handover: true}
	late     = Rules{Late: 20 * ms}
	troubled = Rules{Trouble: 5 * ms, Linger: 20 * ms}
	repeats  = Rules{Trouble: 5 * ms, Repeats: 3}
)

// history is one that the contract allows or not.
type history struct {
	says  string
	legal bool
	rules Rules
	ops   []Operation
}

func TestHistoriesAreJudged(t *testing.T) {
	for _, rows := range [][]history{ownerHistories, leaseHistories, tokenHistories, waitHistories, unknownHistories, severalHistories} {
		for _, row := range rows {
			t.Run(row.says, func(t *testing.T) {
				err := row.rules.Check(row.ops, time.Minute)
				var v *Violation
				if row.legal && err != nil || !row.legal && !errors.As(err, &v) {
					t.Errorf("legal is %v, but: %v", row.legal, err)
				}
			})
		}
	}
}

var ownerHistories = []history{
	{"a lock is taken, given back and taken again", true, exact, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", Freed, 2, 3), grant("bob", 2, 4, 5)}},
	{"a held lock is granted", false, exact, []Operation{grant("ann", 1, 0, 1), grant("bob", 2, 2, 3)}},
	{"a held lock is granted to its holder", false, exact, []Operation{grant("ann", 1, 0, 1), grant("ann", 2, 2, 3)}},
	{"two are granted at once, and one gives back meanwhile", true, exact, []Operation{
		grant("ann", 1, 0, 9), grant("bob", 2, 0, 9), op(Unlock, "ann", Freed, 0, 9)}},
	{"two are granted at once", false, exact, []Operation{grant("ann", 1, 0, 9), grant("bob", 2, 0, 9)}},
	{"a held lock is refused", true, exact, []Operation{grant("ann", 1, 0, 1), op(TryLock, "bob", Refused, 2, 3)}},
	{"a free lock is refused", false, exact, []Operation{op(TryLock, "bob", Refused, 2, 3)}},
	{"a lock is refused that was given back before", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", Freed, 2, 3), op(TryLock, "bob", Refused, 4, 5)}},
	{"a lock is refused while it is being given back", true, exact, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", Freed, 2, 4), op(TryLock, "bob", Refused, 3, 5)}},
	{"another owner may not unlock", true, exact, []Operation{grant("ann", 1, 0, 1), op(Unlock, "bob", NotOwner, 2, 3)}},
	{"another owner unlocks", false, exact, []Operation{grant("ann", 1, 0, 1), op(Unlock, "bob", Freed, 2, 3)}},
	{"another owner is told that nobody holds the lock", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "bob", NotHeld, 2, 3)}},
	{"the holder is told that somebody else is", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Renew, "ann", NotOwner, 2, 3)}},
	{"what nobody holds is unlocked", false, exact, []Operation{op(Unlock, "ann", Freed, 2, 3)}},
	{"whoever holds the lock is revoked", true, exact, []Operation{
		grant("ann", 1, 0, 1), op(Revoke, "", Freed, 2, 3), op(Unlock, "ann", NotHeld, 4, 5)}},
	{"a lock is held after it was revoked", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Revoke, "", Freed, 2, 3), op(Unlock, "ann", Freed, 4, 5)}},
	{"the wrong owner is revoked", false, exact, []Operation{grant("ann", 1, 0, 1), op(Revoke, "bob", Freed, 2, 3)}},
	{"a look sees the holder", true, exact, []Operation{grant("ann", 1, 0, 1), look("ann", 1, 2, 3)}},
	{"a look sees nobody", false, exact, []Operation{grant("ann", 1, 0, 1), look("", 0, 2, 3)}},
	{"a look sees who has given back", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", Freed, 2, 3), look("ann", 1, 4, 5)}},
}

var leaseHistories = []history{
	{"a lease is over", true, exact, []Operation{grant("ann", 1, 0, 1), grant("bob", 2, 9, 10)}},
	{"a lease is over too early", false, exact, []Operation{grant("ann", 1, 0, 1), grant("bob", 2, 8, 9)}},
	{"a lease may be over as early as its call allows", true, exact, []Operation{
		grant("ann", 1, 0, 8), op(Unlock, "ann", NotHeld, 9, 10)}},
	{"a lease may last as long as its return allows", true, exact, []Operation{
		grant("ann", 1, 0, 8), op(Unlock, "ann", Freed, 17, 20)}},
	{"a lease lasts too long", false, exact, []Operation{grant("ann", 1, 0, 8), op(Unlock, "ann", Freed, 18, 20)}},
	{"a lease is rounded up and lasts a little longer", true, slack, []Operation{
		grant("ann", 1, 0, 8, ttl(9*ms)), op(Unlock, "ann", Freed, 19, 20)}},
	{"a lease lasts longer than rounding and slack", false, slack, []Operation{
		grant("ann", 1, 0, 8, ttl(9*ms)), op(Unlock, "ann", Freed, 20, 21)}},
	{"others show that a lease began early", false, exact, []Operation{
		grant("ann", 1, 0, 8), look("ann", 1, 1, 2), op(Unlock, "ann", Freed, 13, 14)}},
	{"the holder is told that its lease lasts", false, exact, []Operation{
		grant("ann", 1, 0, 8, expires(15*ms)), op(Unlock, "ann", NotHeld, 9, 10)}},
	{"a lease was seen to be over and is not", false, exact, []Operation{
		grant("ann", 1, 0, 8), look("", 0, 11, 12), look("ann", 1, 13, 14)}},
	{"a renewed lease lasts", true, exact, []Operation{
		grant("ann", 1, 0, 1), op(Renew, "ann", Granted, 8, 9, token(1)), op(Unlock, "ann", Freed, 17, 18)}},
	{"a renewed lease is over too early", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Renew, "ann", Granted, 8, 9, token(1)), look("", 0, 11, 12)}},
	{"a renewal shortens a lease", true, exact, []Operation{
		grant("ann", 1, 0, 1), op(Renew, "ann", Granted, 2, 3, token(1), ttl(2*ms)), look("", 0, 5, 6)}},
	{"a renewal takes a lock that was gone", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Renew, "ann", Granted, 12, 13, token(1))}},
	{"a grant expires after its lease", false, exact, []Operation{grant("ann", 1, 0, 1, expires(12*ms))}},
}

var tokenHistories = []history{
	{"tokens grow", true, exact, []Operation{grant("ann", 1, 0, 1), grant("bob", 3, 12, 13)}},
	{"a token is given twice", false, exact, []Operation{grant("ann", 1, 0, 1), grant("bob", 1, 12, 13)}},
	{"tokens fall", false, exact, []Operation{grant("ann", 2, 0, 1), grant("bob", 1, 12, 13)}},
	{"tokens fall across an unlock", false, exact, []Operation{
		grant("ann", 2, 0, 1), op(Unlock, "ann", Freed, 2, 3), grant("ann", 1, 4, 5)}},
	{"tokens tell the order", false, exact, []Operation{ // the larger one would have to come first
		grant("ann", 2, 0, 9), grant("bob", 1, 0, 9), op(Unlock, "ann", Freed, 0, 9), look("bob", 1, 9, 10)}},
	{"a renewal has another token", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Renew, "ann", Granted, 2, 3, token(2))}},
	{"a look sees another token", false, exact, []Operation{grant("ann", 1, 0, 1), look("ann", 2, 2, 3)}},
	{"there is no token", false, exact, []Operation{grant("ann", 0, 0, 1)}},
}

var waitHistories = []history{
	{"a free lock is refused because somebody waits", true, exact, []Operation{
		op(Lock, "ann", Granted, 0, 5, token(1)), op(TryLock, "bob", Refused, 0, 1)}},
	{"a free lock is refused though who waited has returned", false, exact, []Operation{
		op(Lock, "ann", Cancelled, 0, 5, cutOff(5*ms)), op(TryLock, "bob", Refused, 6, 7)}},
	{"who waits is granted while the lock is held", false, exact, []Operation{
		grant("ann", 1, 0, 1), op(Lock, "bob", Granted, 2, 3, token(2))}},
	{"who waits is refused", false, exact, []Operation{grant("ann", 1, 0, 1), op(Lock, "bob", Refused, 2, 3)}},
	{"a cancelled waiter is met for a moment", true, exact, []Operation{
		op(Lock, "ann", Cancelled, 0, 5, cutOff(5*ms)), op(Unlock, "bob", NotOwner, 2, 3), grant("bob", 1, 4, 5)}},
	{"a cancelled waiter is renewed by somebody and gone all the same", true, exact, []Operation{
		op(Lock, "ann", Cancelled, 0, 5, cutOff(5*ms)), op(Renew, "ann", Granted, 2, 3, token(1)), grant("bob", 2, 6, 7)}},
	{"a cancelled waiter is met while somebody holds", false, exact, []Operation{
		grant("bob", 1, 0, 1), op(Lock, "ann", Cancelled, 2, 5, cutOff(5*ms)), look("ann", 2, 3, 4)}},
	{"a cancelled waiter holds", false, exact, []Operation{
		op(Lock, "ann", Cancelled, 0, 5, cutOff(5*ms)), op(Unlock, "bob", NotOwner, 6, 7)}},
	{"a waiter that could not be cancelled lingers", true, troubled, []Operation{
		op(Lock, "ann", Cancelled, 0, 8, cutOff(3*ms)), op(Unlock, "bob", NotOwner, 27, 28)}},
	{"a waiter that could not be cancelled stays", false, troubled, []Operation{
		op(Lock, "ann", Cancelled, 0, 8, cutOff(3*ms)), op(Unlock, "bob", NotOwner, 28, 29)}},
	{"a waiter that could be cancelled lingers", false, troubled, []Operation{
		op(Lock, "ann", Cancelled, 0, 8, cutOff(7*ms)), op(Unlock, "bob", NotOwner, 9, 10)}},
	{"a lock is handed over, revoked and handed over", true, handover, []Operation{
		op(Lock, "ann", Granted, 0, 9, token(2)), look("ann", 1, 1, 2), op(Revoke, "", Freed, 3, 4),
		look("", 0, 5, 6), look("ann", 2, 7, 8)}},
	{"a lock is granted, revoked and granted, with one answer", false, exact, []Operation{
		op(Lock, "ann", Granted, 0, 9, token(2)), look("ann", 1, 1, 2), op(Revoke, "", Freed, 3, 4),
		look("", 0, 5, 6), look("ann", 2, 7, 8)}},
	{"a lock is handed over while somebody holds it", false, handover, []Operation{
		grant("bob", 1, 0, 1), op(Lock, "ann", Granted, 0, 20, token(2)), look("ann", 2, 3, 4)}},
}

var unknownHistories = []history{
	{"a failed call took the lock", true, exact, []Operation{
		op(TryLock, "ann", Unknown, 0, 1), op(Unlock, "ann", Freed, 2, 3)}},
	{"a failed call did not take the lock", true, exact, []Operation{
		op(TryLock, "ann", Unknown, 0, 1), op(Unlock, "ann", NotHeld, 2, 3)}},
	{"a failed call takes the lock later", true, late, []Operation{
		op(TryLock, "ann", Unknown, 0, 1), look("", 0, 2, 3), look("ann", 4, 20, 21)}},
	{"a failed call takes the lock too late", false, late, []Operation{
		op(TryLock, "ann", Unknown, 0, 1), look("", 0, 22, 23), look("ann", 4, 24, 25)}},
	{"a failed call takes the lock twice", false, late, []Operation{
		op(TryLock, "ann", Unknown, 0, 1), op(Unlock, "ann", Freed, 2, 3), op(Unlock, "ann", Freed, 4, 5)}},
	{"a failed call takes a held lock", false, late, []Operation{
		grant("bob", 1, 0, 1), op(TryLock, "ann", Unknown, 0, 1), look("ann", 2, 2, 3)}},
	{"a failed call takes the lock for longer than its lease", false, late, []Operation{
		op(TryLock, "ann", Unknown, 0, 1), look("ann", 1, 2, 3), look("ann", 1, 13, 14)}},
	{"a failed unlock had its effect", true, late, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", Unknown, 2, 3), look("ann", 1, 4, 5), look("", 0, 6, 7)}},
	{"a failed unlock freed somebody else's lock", false, late, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "bob", Unknown, 2, 3), look("", 0, 6, 7)}},
	{"a failed renewal had its effect", true, late, []Operation{
		grant("ann", 1, 0, 1), op(Renew, "ann", Unknown, 7, 8), look("ann", 1, 16, 17)}},
	{"a repeated unlock finds that nobody holds the lock", true, repeats, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", NotHeld, 2, 8)}},
	{"an unlock that was not repeated finds that nobody holds the lock", false, repeats, []Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", NotHeld, 2, 6)}},
	{"a repeated call is granted, freed by others and granted", true, repeats, []Operation{
		grant("ann", 2, 0, 9), op(Unlock, "ann", Freed, 2, 3), look("", 0, 4, 5), op(Unlock, "ann", Freed, 10, 11)}},
	{"a call that is not repeated is granted, freed by others and granted", false, exact, []Operation{
		grant("ann", 2, 0, 9), op(Unlock, "ann", Freed, 2, 3), look("", 0, 4, 5), op(Unlock, "ann", Freed, 10, 11)}},
	{"a repeated renewal is over before it is repeated", true, repeats, []Operation{
		grant("ann", 1, 0, 1, ttl(30*ms)), op(Renew, "ann", NotHeld, 2, 9, ttl(ms))}},
}

var severalHistories = []history{
	{"several locks are taken", true, exact, []Operation{
		op(LockAll, "ann", Granted, 0, 1, token(1), keys("disk", "gate")), look("ann", 1, 2, 3),
		op(Unlock, "ann", Freed, 4, 5, keys("gate")), op(Unlock, "ann", Freed, 6, 7)}},
	{"some of several locks are taken", false, exact, []Operation{
		op(LockAll, "ann", Granted, 0, 1, token(1), keys("disk", "gate")), look("", 0, 2, 3)}},
	{"several locks are taken though one is held", false, exact, []Operation{
		grant("bob", 1, 0, 1), op(LockAll, "ann", Granted, 2, 3, token(2), keys("disk", "gate"))}},
	{"several locks are refused because one is held", true, exact, []Operation{
		grant("bob", 1, 0, 1), op(LockAll, "ann", Refused, 2, 3, keys("gate", "disk"))}},
	{"several locks are refused though all are free", false, exact, []Operation{
		grant("bob", 1, 0, 1, keys("lid")), op(LockAll, "ann", Refused, 2, 3, keys("gate", "disk"))}},
	{"a part of several locks is seen to be taken", false, exact, []Operation{
		op(LockAll, "ann", Refused, 0, 9, keys("disk", "gate")), grant("bob", 1, 0, 1, keys("gate")), look("ann", 2, 2, 3)}},
	{"one lock is taken before the other", false, exact, []Operation{
		op(LockAll, "ann", Granted, 0, 9, token(3), keys("disk", "gate")), look("ann", 3, 1, 2),
		op(Unlock, "bob", NotHeld, 3, 4, keys("gate"))}},
	{"who waits for several locks is in the way", true, exact, []Operation{
		op(LockAll, "ann", Cancelled, 0, 9, keys("disk", "gate"), waiting, cutOff(9*ms)), op(TryLock, "bob", Refused, 1, 2)}},
	{"different locks have nothing to do with each other", true, exact, []Operation{
		grant("ann", 2, 0, 1), grant("bob", 1, 2, 3, keys("gate"))}},
}

func TestAViolationTellsWhereTheExplanationEnds(t *testing.T) {
	err := exact.Check([]Operation{
		grant("ann", 1, 0, 1), op(Unlock, "ann", Freed, 2, 3), grant("bob", 2, 4, 5), op(Unlock, "ann", Freed, 6, 7),
	}, time.Minute)
	if err == nil {
		t.Fatal("it is no violation")
	}
	told, rest, _ := strings.Cut(err.Error(), "after which none of these can come")
	if !strings.Contains(told, "TryLock(disk, bob)") || strings.Count(rest, "\n\t") != 1 || !strings.Contains(rest, "Unlock(disk, ann)") {
		t.Error(err)
	}
}

func TestASearchWithoutAnEndIsNoPass(t *testing.T) {
	var ops []Operation
	for i := range int64(40) { // any of them may have had its effect at any time
		ops = append(ops, op(TryLock, string(rune('a'+i)), Unknown, i, i+1))
	}
	ops = append(ops, op(Unlock, "nobody", NotOwner, 900, 901), op(Unlock, "nobody", Freed, 902, 903))
	if err := (Rules{Late: time.Minute}).Check(ops, 50*ms); !errors.Is(err, ErrUndecided) {
		t.Errorf("the check ends with %v", err)
	}
}

package linearizability

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// plan holds the parameters of one history, drawn from its seed. Workers draw their
// operations with it.
type plan struct {
	seed         uint64
	keys         []string
	owners       []string // one for each worker
	opsPerWorker int      // operations of each worker
	kinds        []Kind   // drawn from by a worker without a lock; repeated by weight

	lease       time.Duration // the scale of the leases
	granularity time.Duration // of times; a coarse one makes events coincide
	cancelRate  int           // how many of 1,000 calls have a short timeout
}

// newPlan draws a plan of about total operations for stores with the features. All keys
// begin with prefix.
func newPlan(seed uint64, total int, lease time.Duration, features []string, prefix string) *plan {
	r := rand.New(rand.NewPCG(seed, 0))
	names := []string{"ann", "bob", "cid", "dot", "eve", "fay"}
	p := &plan{seed: seed, owners: names[:2+r.IntN(len(names)-1)], lease: lease, granularity: time.Nanosecond}
	for _, name := range []string{"disk", "gate", "lid"}[:1+r.IntN(3)] {
		p.keys = append(p.keys, prefix+name)
	}
	p.opsPerWorker = total / len(p.owners)
	p.kinds = p.drawKinds(r, features)
	if r.IntN(2) == 0 {
		p.granularity = lease / 8
	}
	if r.IntN(4) == 0 {
		p.cancelRate = 10
	}
	return p
}

// drawKinds draws the kinds of operations. Waiting, which weakens the check of refusals,
// and LockAll, which connects keys, are not in every history.
func (p *plan) drawKinds(r *rand.Rand, features []string) []Kind {
	var kinds []Kind
	add := func(n int, feature string, k Kind) {
		if slices.Contains(features, feature) {
			kinds = append(kinds, slices.Repeat([]Kind{k}, n)...)
		}
	}
	add(8, "FENCING", TryLock) // which every store has
	add(1, "FENCING", Unlock)
	add(1, "RENEW", Renew)
	add(1, "REVOKE", Revoke)
	add(2, "LIST", Read)
	if r.IntN(2) == 0 {
		add(6, "WAIT", Lock)
	}
	if r.IntN(3) == 0 && len(p.keys) > 1 {
		add(4, "MULTI", LockAll)
	}
	return kinds
}

// waiting reports whether the history contains Lock.
func (p *plan) waiting() bool { return slices.Contains(p.kinds, Lock) }

// String describes the plan in one line.
func (p *plan) String() string {
	return "workers " + strings.Join(p.owners, " ") + "; keys " + strings.Join(baseNames(p.keys), " ") + "; grain " + p.granularity.String()
}

// nextOperation draws the next operation of a worker that, as far as it knows, holds the
// locks of the keys in held.
func (p *plan) nextOperation(r *rand.Rand, worker int, held []string) Operation {
	op := Operation{Worker: worker, Owner: p.owners[worker], TTL: p.ttl(r)}
	if len(held) > 0 && r.IntN(3) > 0 {
		op.Keys = []string{pick(r, held)}
		op.Kind = pick(r, []Kind{Unlock, Unlock, Renew})
	} else {
		op.Keys = []string{pick(r, p.keys)}
		op.Kind = pick(r, p.kinds)
		p.asNonHolder(r, &op)
	}
	if !slices.Contains(p.kinds, op.Kind) { // the store does not support renewal
		op.Kind = Unlock
	}
	if !slices.Contains([]Kind{TryLock, Lock, LockAll, Renew}, op.Kind) {
		op.TTL = 0
	}
	return op
}

// asNonHolder completes an operation on a lock that the worker does not hold: most of
// them affect another owner's lock.
func (p *plan) asNonHolder(r *rand.Rand, op *Operation) {
	switch op.Kind {
	case Unlock, Renew:
		op.Owner = pick(r, p.owners)
	case Revoke:
		op.Owner = pick(r, append([]string{""}, p.owners...))
	case Read:
		op.Owner = ""
	case LockAll:
		op.Wait = p.waiting() && r.IntN(2) == 0
		op.Keys = p.drawKeys(r)
	}
}

// drawKeys draws two keys or more, in any order.
func (p *plan) drawKeys(r *rand.Rand) []string {
	var keys []string
	for _, i := range r.Perm(len(p.keys))[:2+r.IntN(len(p.keys)-1)] {
		keys = append(keys, p.keys[i])
	}
	return keys
}

// ttl draws a lease: most end while the history lasts, and some have to be released.
func (p *plan) ttl(r *rand.Rand) time.Duration {
	if r.IntN(8) == 0 {
		return 16 * p.lease
	}
	return max(p.duration(r, p.lease), p.lease/8)
}

// pause draws the pause between two operations of a worker.
func (p *plan) pause(r *rand.Rand) time.Duration {
	if r.IntN(3) == 0 {
		return 0
	}
	return p.duration(r, p.lease/2)
}

// timeout draws the timeout of an operation. That of a call that waits often ends during
// the wait.
func (p *plan) timeout(r *rand.Rand, op *Operation) time.Duration {
	switch {
	case op.waits():
		return p.duration(r, 2*p.lease)
	case r.IntN(1000) < p.cancelRate:
		return p.duration(r, p.lease/16)
	}
	return callLimit
}

// duration draws a duration of at most limit.
func (p *plan) duration(r *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(limit/p.granularity)+1)) * p.granularity
}

// pick draws one of the values.
func pick[T any](r *rand.Rand, values []T) T { return values[r.IntN(len(values))] }

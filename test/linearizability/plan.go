package linearizability

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// plan is what the workers of one history do, drawn from its seed. The rest of what they
// do they draw from it themselves.
type plan struct {
	seed   uint64
	keys   []string
	owners []string // one for each worker
	each   int      // operations of each worker
	kinds  []Kind   // what to ask for while holding nothing, as often as it stands here

	lease time.Duration // the scale of the leases
	grain time.Duration // times are multiples of it; a coarse one makes things happen at once
	hasty int           // in how many of a thousand calls the context ends at any moment
}

// newPlan draws a plan of about total operations for stores with the features. prefix
// begins all keys.
func newPlan(seed uint64, total int, lease time.Duration, features []string, prefix string) *plan {
	r := rand.New(rand.NewPCG(seed, 0))
	names := []string{"ann", "bob", "cid", "dot", "eve", "fay"}
	p := &plan{seed: seed, owners: names[:2+r.IntN(len(names)-1)], lease: lease, grain: time.Nanosecond}
	for _, name := range []string{"disk", "gate", "lid"}[:1+r.IntN(3)] {
		p.keys = append(p.keys, prefix+name)
	}
	p.each = total / len(p.owners)
	p.kinds = p.draw(r, features)
	if r.IntN(2) == 0 {
		p.grain = lease / 8
	}
	if r.IntN(4) == 0 {
		p.hasty = 10
	}
	return p
}

// draw chooses what the workers ask for. Waiting, which makes refusals say little, and
// what ties keys together are not in every history.
func (p *plan) draw(r *rand.Rand, features []string) []Kind {
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
	add(2, "LIST", Look)
	if r.IntN(2) == 0 {
		add(6, "WAIT", Lock)
	}
	if r.IntN(3) == 0 && len(p.keys) > 1 {
		add(4, "MULTI", LockAll)
	}
	return kinds
}

// waiting tells whether there is waiting in the history.
func (p *plan) waiting() bool { return slices.Contains(p.kinds, Lock) }

// String tells the plan in a line.
func (p *plan) String() string {
	return "workers " + strings.Join(p.owners, " ") + "; keys " + strings.Join(baseNames(p.keys), " ") + "; grain " + p.grain.String()
}

// aim draws the next operation of a worker that holds the locks of some keys, as far as
// it knows.
func (p *plan) aim(r *rand.Rand, worker int, holds []string) Operation {
	op := Operation{Worker: worker, Owner: p.owners[worker], TTL: p.ttl(r)}
	if len(holds) > 0 && r.IntN(3) > 0 {
		op.Keys = []string{pick(r, holds)}
		op.Kind = pick(r, []Kind{Unlock, Unlock, Renew})
	} else {
		op.Keys = []string{pick(r, p.keys)}
		op.Kind = pick(r, p.kinds)
		p.stray(r, &op)
	}
	if !slices.Contains(p.kinds, op.Kind) { // a store that cannot renew
		op.Kind = Unlock
	}
	if !slices.Contains([]Kind{TryLock, Lock, LockAll, Renew}, op.Kind) {
		op.TTL = 0
	}
	return op
}

// stray completes an operation of a worker that has no business with the lock: mostly it
// meddles with somebody else's.
func (p *plan) stray(r *rand.Rand, op *Operation) {
	switch op.Kind {
	case Unlock, Renew:
		op.Owner = pick(r, p.owners)
	case Revoke:
		op.Owner = pick(r, append([]string{""}, p.owners...))
	case Look:
		op.Owner = ""
	case LockAll:
		op.Wait = p.waiting() && r.IntN(2) == 0
		op.Keys = p.some(r)
	}
}

// some draws two keys or more, in any order.
func (p *plan) some(r *rand.Rand) []string {
	var keys []string
	for _, i := range r.Perm(len(p.keys))[:2+r.IntN(len(p.keys)-1)] {
		keys = append(keys, p.keys[i])
	}
	return keys
}

// ttl draws a lease: most end while the history lasts, and some have to be given back.
func (p *plan) ttl(r *rand.Rand) time.Duration {
	if r.IntN(8) == 0 {
		return 16 * p.lease
	}
	return max(p.span(r, p.lease), p.lease/8)
}

// pause draws how long a worker rests between two operations.
func (p *plan) pause(r *rand.Rand) time.Duration {
	if r.IntN(3) == 0 {
		return 0
	}
	return p.span(r, p.lease/2)
}

// limit draws when the context of an operation ends. Calls that wait are cut off in the
// middle of their wait.
func (p *plan) limit(r *rand.Rand, op *Operation) time.Duration {
	switch {
	case op.waits():
		return p.span(r, 2*p.lease)
	case r.IntN(1000) < p.hasty:
		return p.span(r, p.lease/16)
	}
	return callLimit
}

// span draws a duration of at most limit.
func (p *plan) span(r *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(limit/p.grain)+1)) * p.grain
}

// pick draws one of some.
func pick[T any](r *rand.Rand, some []T) T { return some[r.IntN(len(some))] }

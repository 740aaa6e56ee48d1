package client

import (
	"context"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// HoldingVariable is the environment variable in which a program that runs another
// program under its locks passes the owners of these locks, separated by commas. "mortise
// locks lock" sets it for its command; a Go program sets it to the joined [Lease.Holding]
// of the lease. [Dial] reads it.
const HoldingVariable = "MORTISE_HOLDING"

// Limits of the server: the number of owners that a request may declare, and the length
// of an owner in bytes.
const (
	maxHolding  = 64
	maxOwnerLen = 1024
)

// Holding declares owners of locks that stay held until a request for another lock
// returns, in addition to those of the leases that ctx carries. Usually they are owners
// of the program that started this one and waits for it. A request that would wait for
// one of their locks fails with [ErrDeadlock]. A request declares at most 64 owners,
// those of ctx first.
func Holding(owners ...string) Option {
	return func(s *settings) { s.holding = slices.Concat(s.holding, owners) }
}

// envHolding returns the owners in the environment. It skips entries that no server
// accepts, because they would make every request fail.
func envHolding() []string {
	owners := strings.Split(os.Getenv(HoldingVariable), ",")
	return slices.DeleteFunc(owners, func(owner string) bool {
		return owner == "" || len(owner) > maxOwnerLen || !utf8.ValidString(owner)
	})
}

// Owner returns the random name of the lock's owner. It is a credential: with it, any
// program that can connect to the server can renew and release the lock.
func (l *Lease) Owner() string { return l.owner }

// Holding returns the owners that a request must declare while this lease is held: its
// own, and those that were declared when it was acquired, the innermost first. It omits
// leases that have ended.
func (l *Lease) Holding() []string { return l.holding(nil) }

// holding returns the owners of the lease and of its parents, and then the owners that
// were declared otherwise: those in elsewhere, and those of the leases' requests.
func (l *Lease) holding(elsewhere []string) []string {
	var owners []string
	for ; l != nil; l = l.parent {
		if l.Err() == nil {
			owners = append(owners, l.owner)
		}
		elsewhere = slices.Concat(elsewhere, l.extraHolding)
	}
	return firstDistinct(append(owners, elsewhere...), maxHolding)
}

// declared returns the owners that a request made with ctx declares.
func (s settings) declared(ctx context.Context) []string {
	l, _ := LeaseFrom(ctx)
	return l.holding(s.holding)
}

// firstDistinct returns the first n distinct texts, in their order.
func firstDistinct(texts []string, n int) []string {
	var distinct []string
	for _, text := range texts {
		if len(distinct) < n && !slices.Contains(distinct, text) {
			distinct = append(distinct, text)
		}
	}
	return distinct
}

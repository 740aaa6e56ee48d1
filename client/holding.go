package client

import (
	"context"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// HoldingVariable is the environment variable in which a program that runs another one
// under its locks passes on their owners, separated by commas. "mortise locks lock" sets
// it for its command; a Go program sets it to the joined [Lease.Holding] of the lease.
// [Dial] reads it.
const HoldingVariable = "MORTISE_HOLDING"

// Bounds of the server: how many owners a request may declare, and how long one may be.
const (
	maxHolding  = 64
	maxOwnerLen = 1024
)

// Holding adds owners of locks that stay held until a request for another lock is
// answered, besides those of the leases that ctx carries. They belong to whatever waits
// for this program, usually the program that started it. With them a request that would
// wait for one of these locks fails with [ErrDeadlock]. A request declares at most 64
// owners, those of ctx first.
func Holding(owners ...string) Option {
	return func(s *settings) { s.holding = slices.Concat(s.holding, owners) }
}

// inherited returns the owners in the environment. Entries that no server would accept
// are skipped, because they would make every request fail.
func envHolding() []string {
	owners := strings.Split(os.Getenv(HoldingVariable), ",")
	return slices.DeleteFunc(owners, func(owner string) bool {
		return owner == "" || len(owner) > maxOwnerLen || !utf8.ValidString(owner)
	})
}

// Owner is the random name under which the server keeps the lock. It proves whose lock it
// is: with it, any program that reaches the server can renew and release the lock.
func (l *Lease) Owner() string { return l.owner }

// Holding returns the owners that a request must declare while this lease is held: its
// own, and those that were declared when it was taken, the innermost first. Leases that
// have ended are left out.
func (l *Lease) Holding() []string { return l.holding(nil) }

// holding returns the owners of the lease and of those around it, and then the owners
// that came from elsewhere.
func (l *Lease) holding(elsewhere []string) []string {
	var owners []string
	for ; l != nil; l = l.parent {
		if l.Err() == nil {
			owners = append(owners, l.owner)
		}
		elsewhere = slices.Concat(elsewhere, l.declared)
	}
	return firstDistinct(append(owners, elsewhere...), maxHolding)
}

// declared returns the owners that a request made with ctx declares.
func (s settings) declared(ctx context.Context) []string {
	l, _ := LeaseFrom(ctx)
	return l.holding(s.holding)
}

// firstDistinct returns the first n different texts, in their order.
func firstDistinct(texts []string, n int) []string {
	var distinct []string
	for _, text := range texts {
		if len(distinct) < n && !slices.Contains(distinct, text) {
			distinct = append(distinct, text)
		}
	}
	return distinct
}

package stores

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// A Renewer can make a lock last longer.
type Renewer interface {
	// Renew lets the lock last for req.TTL from now, whether that is longer or shorter than what is left. Only its
	// holder can: ErrNotHeld and ErrNotOwner are as in Unlock, and a lock that is gone is not taken again. The grant
	// carries the token that the lock has.
	Renew(ctx context.Context, req Request) (Grant, error)
}

// A Lister can tell which locks there are.
type Lister interface {
	// List returns the held locks whose key starts with prefix, sorted by key. Locks that change hands during the call
	// may be told as before or after; a lock held throughout is always told.
	List(ctx context.Context, prefix string) ([]Lock, error)
}

// Lock is one row of a list: a lock that was held when the store looked.
type Lock struct {
	Key       string
	Owner     string
	TTL       time.Duration // as asked for at the grant or the last renewal; zero if a foreign program took the lock
	Remaining time.Duration // until it expires on the store's clock; positive
	Token     uint64        // as in Grant
}

// A Pinger can tell whether its storage answers.
type Pinger interface {
	// Ping returns nil if the storage answers.
	Ping(ctx context.Context) error
}

// Renew calls s's Renew. It fails with ErrUnsupported if s is no [Renewer].
func Renew(ctx context.Context, s Store, req Request) (Grant, error) {
	if r, ok := s.(Renewer); ok {
		return r.Renew(ctx, req)
	}
	return Grant{}, unsupported(s, "renew")
}

// List calls s's List. It fails with ErrUnsupported if s is no [Lister].
func List(ctx context.Context, s Store, prefix string) ([]Lock, error) {
	if l, ok := s.(Lister); ok {
		return l.List(ctx, prefix)
	}
	return nil, unsupported(s, "list")
}

// Ping calls s's Ping. It fails with ErrUnsupported if s is no [Pinger].
func Ping(ctx context.Context, s Store) error {
	if p, ok := s.(Pinger); ok {
		return p.Ping(ctx)
	}
	return unsupported(s, "ping")
}

// Features names what s can do beyond [Store], sorted. FENCING, tokens on every grant, is part of the contract and so
// always among them.
func Features(s Store) []string {
	features := []string{"FENCING"}
	if _, ok := s.(Lister); ok {
		features = append(features, "LIST")
	}
	if _, ok := s.(Pinger); ok {
		features = append(features, "PING")
	}
	if _, ok := s.(Renewer); ok {
		features = append(features, "RENEW")
	}
	return features
}

// unsupported names the store by its package, which by the rule of the house is its folder and its metadata value.
func unsupported(s Store, ability string) error {
	name, _, _ := strings.Cut(strings.TrimPrefix(fmt.Sprintf("%T", s), "*"), ".")
	return fmt.Errorf("%s: %s: %w", name, ability, ErrUnsupported)
}

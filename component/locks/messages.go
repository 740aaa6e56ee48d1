package locks

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores"
)

// lease is what every message has that asks for one lock.
type leaseRequest interface {
	GetKey() string
	GetOwner() string
	GetTtl() *durationpb.Duration
}

// request is what the message asks of a store, or a *stores.FieldError. The fields of the
// contract have the names that they have in the messages.
func request(m leaseRequest, metadata map[string]string, holding []string) (stores.Request, error) {
	ttl, err := duration("ttl", m.GetTtl())
	ask := stores.Request{Key: m.GetKey(), Owner: m.GetOwner(), TTL: ttl, Metadata: metadata, Holding: holding}
	return ask, cmp.Or(err, ask.Validate())
}

// multiRequest is request for several locks.
func multiRequest(m *lockspb.LockAllRequest) (stores.MultiRequest, error) {
	ttl, err := duration("ttl", m.GetTtl())
	ask := stores.MultiRequest{
		Keys: m.GetKeys(), Owner: m.GetOwner(), TTL: ttl,
		Metadata: m.GetMetadata(), Holding: m.GetHolding(), Wait: !m.GetTry(),
	}
	if m.GetTry() && m.GetWait().AsDuration() != 0 {
		err = cmp.Or(err, fieldError("wait", "is set although try is"))
	}
	return ask, cmp.Or(err, ask.Validate())
}

// waitOf is how long the message asks to wait; zero is without limit.
func waitTime(m interface{ GetWait() *durationpb.Duration }) (time.Duration, error) {
	if m.GetWait() == nil {
		return 0, nil
	}
	wait, err := duration("wait", m.GetWait())
	if err == nil && wait < 0 {
		err = fieldError("wait", fmt.Sprintf("is %v, the least is 0", wait))
	}
	return wait, err
}

// duration reads a duration that may be missing, malformed, or longer than a
// time.Duration can be.
func duration(field string, d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, fieldError(field, "is missing")
	}
	long := d.AsDuration() // the nearest there is, if there is none
	if d.CheckValid() != nil || long == math.MaxInt64 || long == math.MinInt64 {
		return 0, fieldError(field, "is out of range")
	}
	return long, nil
}

// validateVictim returns a *stores.FieldError if key or owner is out of bounds; the owner
// may be empty.
func validateKey(key, owner string) error {
	return stores.ValidateKey(key, cmp.Or(owner, "anybody"))
}

// validatePrefix returns a *stores.FieldError for a prefix that no key can have.
func validatePrefix(prefix string) error {
	if len(prefix) > stores.MaxKeyLen {
		return fieldError("prefix", fmt.Sprintf("is %d bytes long, the most is %d", len(prefix), stores.MaxKeyLen))
	}
	return nil
}

func fieldError(field, problem string) error {
	return &stores.FieldError{Field: field, Problem: problem}
}

// response is a store's answer, sent now.
func response(grant stores.Grant) *lockspb.LockResponse {
	if !grant.Acquired {
		return &lockspb.LockResponse{}
	}
	left := max(0, time.Until(grant.Expires))
	return &lockspb.LockResponse{Acquired: true, Token: grant.Token, ExpiresIn: durationpb.New(left)}
}

func lockMessage(l stores.LockInfo) *lockspb.Lock {
	m := &lockspb.Lock{
		Key:       sanitize(l.Key, stores.MaxKeyLen),
		Owner:     sanitize(l.Owner, stores.MaxOwnerLen),
		Ttl:       durationpb.New(l.TTL),
		Remaining: durationpb.New(l.Remaining),
		Token:     l.Token,
		Waiters:   uint32(l.Waiters),
		Metadata:  l.Metadata,
	}
	if l.DeclaredTTL > 0 {
		m.Declared = durationpb.New(l.DeclaredTTL)
	}
	return m
}

// readable is a name as a message can carry it. One that a foreign program has made need
// be no text, nor within our bounds, and must not keep people from seeing the other
// locks.
func sanitize(name string, limit int) string {
	return strings.ToValidUTF8(name[:min(len(name), limit)], "\uFFFD")
}

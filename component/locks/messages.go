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

// leaseRequest has the fields of every request for one lock.
type leaseRequest interface {
	GetKey() string
	GetOwner() string
	GetTtl() *durationpb.Duration
}

// request returns the message as a store's request, or a *stores.FieldError. The
// contract's fields have the same names in the messages.
func request(m leaseRequest, metadata map[string]string, holding []string) (stores.Request, error) {
	ttl, err := duration("ttl", m.GetTtl())
	req := stores.Request{Key: m.GetKey(), Owner: m.GetOwner(), TTL: ttl, Metadata: metadata, Holding: holding}
	return req, cmp.Or(err, req.Validate())
}

// multiRequest is request for several locks.
func multiRequest(m *lockspb.LockAllRequest) (stores.MultiRequest, error) {
	ttl, err := duration("ttl", m.GetTtl())
	req := stores.MultiRequest{
		Keys: m.GetKeys(), Owner: m.GetOwner(), TTL: ttl,
		Metadata: m.GetMetadata(), Holding: m.GetHolding(), Wait: !m.GetTry(),
	}
	if m.GetTry() && m.GetWait().AsDuration() != 0 {
		err = cmp.Or(err, fieldError("wait", "must not be set together with try"))
	}
	return req, cmp.Or(err, req.Validate())
}

// waitTime returns how long the message asks to wait; zero is without limit.
func waitTime(m interface{ GetWait() *durationpb.Duration }) (time.Duration, error) {
	if m.GetWait() == nil {
		return 0, nil
	}
	wait, err := duration("wait", m.GetWait())
	if err == nil && wait < 0 {
		err = fieldError("wait", fmt.Sprintf("must be at least 0, got %v", wait))
	}
	return wait, err
}

// duration converts a duration, which may be missing, malformed, or out of
// time.Duration's range.
func duration(field string, d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, fieldError(field, "is missing")
	}
	long := d.AsDuration() // saturates
	if d.CheckValid() != nil || long == math.MaxInt64 || long == math.MinInt64 {
		return 0, fieldError(field, "is out of range")
	}
	return long, nil
}

// validateKey returns a *stores.FieldError if the key or the owner is invalid; the owner
// may be empty.
func validateKey(key, owner string) error {
	return stores.ValidateKey(key, cmp.Or(owner, "any"))
}

// validatePrefix returns a *stores.FieldError for a prefix that is longer than any key.
func validatePrefix(prefix string) error {
	if len(prefix) > stores.MaxKeyLen {
		return fieldError("prefix", fmt.Sprintf("must be at most %d bytes, got %d", stores.MaxKeyLen, len(prefix)))
	}
	return nil
}

func fieldError(field, problem string) error {
	return &stores.FieldError{Field: field, Problem: problem}
}

// response converts a grant. Its remaining time counts from now.
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

// sanitize returns a name as a message can carry it. Names that other programs have
// written to the storage may be invalid UTF-8 or too long, and must not prevent List from
// returning the other locks.
func sanitize(name string, limit int) string {
	return strings.ToValidUTF8(name[:min(len(name), limit)], "\uFFFD")
}

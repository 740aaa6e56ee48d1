package layotto

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/internal/keyprefix"
	"github.com/mortise-lock/mortise/stores"
)

// lockMessage has the fields of every message.
type lockMessage interface {
	GetStoreName() string
	GetResourceId() string
	GetLockOwner() string
}

// leaseMessage is a message with a lock's time to live in seconds.
type leaseMessage interface {
	lockMessage
	GetExpire() int32
}

// check rejects an invalid message with Layotto's errors, in the order of Layotto's
// checks.
func (s *Service) check(m lockMessage) error {
	lease, lasts := m.(leaseMessage)
	_, found := s.prefixes[m.GetStoreName()]
	switch {
	case len(s.prefixes) == 0:
		return status.Error(codes.FailedPrecondition, "lock store is not configured")
	case m.GetResourceId() == "":
		return invalid(m, "ResourceId is empty")
	case m.GetLockOwner() == "":
		return invalid(m, "LockOwner is empty")
	case lasts && lease.GetExpire() <= 0:
		return invalid(m, "Expire is not positive")
	case !found:
		return notFound(m)
	}
	return keyprefix.CheckPart(m.GetResourceId())
}

// fieldNames are the contract's fields by their names in Layotto's messages.
var fieldNames = map[string]string{"key": "ResourceId with its prefix", "owner": "LockOwner"}

// checkBounds rejects keys and owners that no store accepts. Layotto itself has no such
// limits.
func checkBounds(m lockMessage, key string) error {
	if bad, ok := errors.AsType[*stores.FieldError](stores.ValidateKey(key, m.GetLockOwner())); ok {
		return invalid(m, fieldNames[bad.Field]+" "+bad.Problem)
	}
	return nil
}

func invalid(m lockMessage, problem string) error {
	return status.Errorf(codes.InvalidArgument, "%s in lock store %s", problem, m.GetStoreName())
}

func notFound(m lockMessage) error {
	return status.Errorf(codes.InvalidArgument, "lock store %s not found", m.GetStoreName())
}

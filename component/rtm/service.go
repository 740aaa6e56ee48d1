// Package rtm is the API of RTM's channel locks: named objects that the users of a
// channel set, acquire and remove.
//
// A lock's owner is a user, and its TTL is how long the user keeps it while offline.
// Stores have only leases, so this process renews the locks of users that are online; see
// package presence. Package rtmhttp serves the API over HTTP.
package rtm

import (
	"cmp"
	"context"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/rtm/presence"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

// Service implements the operations on channel locks with the stores of components. It is
// safe for concurrent use.
type Service struct {
	rtmpb.UnimplementedChannelLocksServer
	components instances.Resolver
	waiting    *waitingCalls
	presence   *presence.Pool
}

// New returns a service that uses the components. The caller must Close it.
func New(components instances.Resolver, log logger.Logger) *Service {
	return &Service{components: components, waiting: newWaitingCalls(), presence: presence.NewPool(log)}
}

// Close ends the streams and waits for all goroutines of the service.
func (s *Service) Close() { s.presence.Close() }

// request is the message of any operation.
type request interface {
	GetStore() string
	GetUser() string
}

// userOf returns the user that the message is from, or an error that names a field.
func (s *Service) userOf(ctx context.Context, m request) (presence.User, error) {
	if m.GetUser() == "" {
		return presence.User{}, invalid(notLogin, "user", "must not be empty")
	}
	if problem := nameProblem(m.GetUser()); problem != "" {
		return presence.User{}, invalid(invalidUserID, "user", problem)
	}
	store, err := s.components.Find(ctx, cmp.Or(m.GetStore(), instances.NameFromHeader(ctx)))
	return presence.User{Store: store, Name: m.GetUser()}, err
}

// runOnLock runs an operation on one lock, and sets the lock's fields of the response.
func (s *Service) runOnLock(ctx context.Context, operation string, m interface {
	request
	lockMessage
}, run func(presence.User, presence.Lock) (*rtmpb.LockResponse, error)) (*rtmpb.LockResponse, error) {
	l, err := lockOf(m)
	if err != nil {
		return nil, StatusError(operation, err)
	}
	u, err := s.userOf(ctx, m)
	if err != nil {
		return nil, StatusError(operation, err)
	}
	response, err := run(u, l)
	if err != nil {
		return nil, StatusError(operation, err)
	}
	response.Channel, response.ChannelType, response.LockName = l.Channel.Name, l.Kind, l.Name
	return response, nil
}

// do calls fn with the current store of the user's component, and a ctx that ends after
// presence.OperationTimeout.
func (s *Service) do(ctx context.Context, u presence.User, fn func(context.Context, stores.Store) error) error {
	ctx, cancel := context.WithTimeout(ctx, presence.OperationTimeout)
	defer cancel()
	return s.components.Do(ctx, u.Store.Name(), func(store stores.Store) error { return fn(ctx, store) })
}

// Package rtm is the API of RTM's channel locks: named objects that the users of a
// channel set, acquire and remove.
//
// A lock's owner is a user, and its TTL is how long the user keeps it while offline.
// Stores have only leases, so this process renews the locks of users that are online; see
// [hub] for how it follows which locks they hold.
package rtm

import (
	"context"
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc/metadata"

	"github.com/mortise-lock/mortise/component/instances"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

// operationTimeout bounds every operation that does not wait for a lock. RTM's own
// clients use the same bound.
const operationTimeout = 10 * time.Second

// Service implements the operations on channel locks with the stores of components. It is
// safe for concurrent use.
type Service struct {
	rtmpb.UnimplementedChannelLocksServer
	components instances.Resolver
	waiting    *waitingCalls
	hubs       *hubPool
}

// New returns a service that uses the components. The caller must Close it.
func New(components instances.Resolver, log logger.Logger) *Service {
	return &Service{components: components, waiting: newWaitingCalls(), hubs: newHubPool(log)}
}

// Close ends the streams and waits for all goroutines of the service.
func (s *Service) Close() { s.hubs.close() }

// user identifies the user of an operation. Users of two stores are different even if
// their names are equal.
type user struct {
	store instances.Instance
	name  string
}

// request is the message of any operation.
type request interface {
	GetStore() string
	GetUser() string
}

// userOf returns the user that the message is from, or an error that names a field.
func (s *Service) userOf(ctx context.Context, m request) (user, error) {
	if m.GetUser() == "" {
		return user{}, invalid(notLogin, "user", "must not be empty")
	}
	if problem := nameProblem(m.GetUser()); problem != "" {
		return user{}, invalid(invalidUserID, "user", problem)
	}
	component := m.GetStore()
	if names := metadata.ValueFromIncomingContext(ctx, instances.Header); component == "" && len(names) > 0 {
		component = names[0]
	}
	store, err := s.components.Find(ctx, component)
	return user{store, m.GetUser()}, err
}

// runOnLock runs an operation on one lock, and sets the lock's fields of the response.
func (s *Service) runOnLock(ctx context.Context, operation string, m interface {
	request
	lockMessage
}, run func(user, lock) (*rtmpb.LockResponse, error)) (*rtmpb.LockResponse, error) {
	l, err := lockOf(m)
	if err != nil {
		return nil, statusError(operation, err)
	}
	u, err := s.userOf(ctx, m)
	if err != nil {
		return nil, statusError(operation, err)
	}
	response, err := run(u, l)
	if err != nil {
		return nil, statusError(operation, err)
	}
	response.Channel, response.ChannelType, response.LockName = l.channel.name, l.kind, l.name
	return response, nil
}

// do calls fn with the current store of the user's component, and a ctx that ends after
// operationTimeout.
func (s *Service) do(ctx context.Context, u user, fn func(context.Context, stores.Store) error) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	return s.components.Do(ctx, u.store.Name(), func(store stores.Store) error { return fn(ctx, store) })
}

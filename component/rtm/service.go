// Package rtm is the API of RTM's channel locks: named objects that the users of a
// channel set, acquire and remove.
//
// A lock's owner is a user, and its TTL is how long he keeps it while he is offline. The
// stores know leases only, so a user who is online has his renewed by this process; see
// [hub] for how it learns what he holds.
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

// operationTimeout bounds every operation that does not wait for a lock, as RTM's own
// clients do.
const operationTimeout = 10 * time.Second

// Service serves the components of a set to the users of RTM's channels. It is safe for
// concurrent use.
type Service struct {
	rtmpb.UnimplementedChannelLocksServer
	components instances.Resolver
	waiting    *waitingCalls
	hubs       *hubPool
}

// New returns a service that uses the components. What it starts ends with Close.
func New(components instances.Resolver, log logger.Logger) *Service {
	return &Service{components: components, waiting: newWaitingCalls(), hubs: newHubPool(log)}
}

// Close ends the streams and waits for everything that the service has started.
func (s *Service) Close() { s.hubs.close() }

// user is who an operation is for. Users of one name in two stores have nothing in
// common.
type user struct {
	store instances.Instance
	name  string
}

// request is what every message has.
type request interface {
	GetStore() string
	GetUser() string
}

// userOf reads who the message is from.
func (s *Service) userOf(ctx context.Context, m request) (user, error) {
	if m.GetUser() == "" {
		return user{}, invalid(notLogin, "user", "is empty")
	}
	if fault := nameProblem(m.GetUser()); fault != "" {
		return user{}, invalid(invalidUserID, "user", fault)
	}
	component := m.GetStore()
	if names := metadata.ValueFromIncomingContext(ctx, instances.Header); component == "" && len(names) > 0 {
		component = names[0]
	}
	store, err := s.components.Find(ctx, component)
	return user{store, m.GetUser()}, err
}

// operate runs an operation on one lock, and completes its answer.
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

// do calls fn with the store of the user's component, also if that has just been
// replaced, and a ctx that is bounded.
func (s *Service) do(ctx context.Context, u user, fn func(context.Context, stores.Store) error) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	return s.components.Do(ctx, u.store.Name(), func(store stores.Store) error { return fn(ctx, store) })
}

package client_test

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/locks"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// testMortise is a Mortise with one component in memory. Unlike a real memory store, it
// can restart with its locks; and tests can change its locks directly.
type testMortise struct {
	backend    stores.Backend
	store      *memory.Store  // for direct changes
	components *instances.Set // of the service; nil while Mortise is stopped
}

// discardLog keeps logs out of the output of the examples.
var discardLog = func() logger.Logger {
	l := logger.NewLogger("client-test")
	l.SetOutput(io.Discard)
	return l
}()

func newMortise() *testMortise {
	m := &testMortise{}
	m.reset()
	return m
}

// reset removes all locks. Mortise must be stopped.
func (m *testMortise) reset() {
	m.backend = memory.NewProcess().Backend()
	m.store = must(m.backend.Open(context.Background(), stores.Component{Name: "locks"})).(*memory.Store)
}

// serve adds the Locks service to a server.
func (m *testMortise) serve(s *grpc.Server) {
	registry := stores.NewRegistry("memory")
	registry.Register("memory", m.backend)
	m.components = instances.New(registry, discardLog)
	if err := m.components.Open(context.Background(), "locks", nil); err != nil {
		panic(err)
	}
	lockspb.RegisterLocksServer(s, locks.New(m.components.Resolver()))
}

// ownerOf returns the owner of the key, or "".
func (m *testMortise) ownerOf(key string) string {
	for _, l := range must(m.store.List(context.Background(), key)) {
		if l.Key == key {
			return l.Owner
		}
	}
	return ""
}

// waiters returns the number of waiters for a held lock.
func (m *testMortise) waiters(key string) int {
	n := 0
	for _, l := range must(m.store.List(context.Background(), key)) {
		n += l.Waiters
	}
	return n
}

// revoke revokes the lock, which must be held.
func (m *testMortise) revoke(key string) {
	if err := m.store.Revoke(context.Background(), key, ""); err != nil {
		panic(err)
	}
}

// lockAsOther acquires the lock for another owner, with a TTL of an hour.
func (m *testMortise) lockAsOther(key string) {
	req := stores.Request{Key: key, Owner: "bob", TTL: time.Hour}
	if grant := must(m.store.TryLock(context.Background(), req)); !grant.Acquired {
		panic(errors.New(key + " is held"))
	}
}

// declare declares the lock with a TTL of an hour, in a group that has the key's name.
func (m *testMortise) declare(key string) {
	if err := m.store.Declare(context.Background(), stores.Declaration{Group: key, Key: key, TTL: time.Hour}); err != nil {
		panic(err)
	}
}

// withdraw withdraws the declared lock.
func (m *testMortise) withdraw(key string) {
	if err := m.store.Withdraw(context.Background(), key, key); err != nil {
		panic(err)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// reasonError returns an error with an ErrorInfo as Mortise sends it.
func reasonError(code codes.Code, reason string) error {
	info := &errdetails.ErrorInfo{Reason: reason, Domain: "mortise"}
	return must(status.New(code, "the server responds "+reason).WithDetails(info)).Err()
}

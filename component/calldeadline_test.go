package component

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores"
)

func TestShortenDeadline(t *testing.T) {
	for _, row := range []struct {
		name          string
		timeout, want time.Duration // 0: none
	}{
		{"keeps a call without a deadline", 0, 0},
		{"shortens a long deadline by replyMargin", time.Minute, time.Minute - replyMargin},
		{"shortens a short deadline by a tenth", 100 * time.Millisecond, 90 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if row.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, row.timeout)
					defer cancel()
				}
				var got time.Duration
				_, err := shortenDeadline(ctx, nil, nil, func(ctx context.Context, _ any) (any, error) {
					if deadline, ok := ctx.Deadline(); ok {
						got = time.Until(deadline)
					}
					return nil, nil
				})
				if err != nil || got != row.want {
					t.Errorf("the handler has %v left, want %v; %v", got, row.want, err)
				}
			})
		})
	}
}

// stalledStore is a store whose storage never answers.
type stalledStore struct{ stores.Store }

func (stalledStore) wait(ctx context.Context) error {
	<-ctx.Done()
	return fmt.Errorf("redis: %w: %w: connection refused", ctx.Err(), stores.ErrUnreachable)
}

func (s stalledStore) TryLock(ctx context.Context, _ stores.Request) (stores.Grant, error) {
	return stores.Grant{}, s.wait(ctx)
}

func (s stalledStore) Lock(ctx context.Context, _ stores.Request) (stores.Grant, error) {
	return stores.Grant{}, s.wait(ctx)
}

func (s stalledStore) Renew(ctx context.Context, _ stores.Request) (stores.Grant, error) {
	return stores.Grant{}, s.wait(ctx)
}

func (s stalledStore) Unlock(ctx context.Context, _, _ string) error { return s.wait(ctx) }

func (stalledStore) Close() error { return nil }

// TestShortenDeadline_ReportsStorageError checks that a client whose deadline passes gets
// the storage's error.
func TestShortenDeadline_ReportsStorageError(t *testing.T) {
	const key, owner = "k", "ann"
	for _, row := range []struct {
		name string
		call func(ctx context.Context, c lockspb.LocksClient) error
	}{
		{"TryLock", func(ctx context.Context, c lockspb.LocksClient) error {
			_, err := c.TryLock(ctx, &lockspb.TryLockRequest{Key: key, Owner: owner, Ttl: hour})
			return err
		}},
		{"Lock", func(ctx context.Context, c lockspb.LocksClient) error {
			_, err := c.Lock(ctx, &lockspb.LockRequest{Key: key, Owner: owner, Ttl: hour})
			return err
		}},
		{"Renew", func(ctx context.Context, c lockspb.LocksClient) error {
			_, err := c.Renew(ctx, &lockspb.RenewRequest{Key: key, Owner: owner, Ttl: hour})
			return err
		}},
		{"Unlock", func(ctx context.Context, c lockspb.LocksClient) error {
			_, err := c.Unlock(ctx, &lockspb.UnlockRequest{Key: key, Owner: owner})
			return err
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				connect := serveServicesInMemory(t, TCPOptions{}, openStalledServices(t))
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				err := row.call(ctx, connect(unchanged))
				checkReason(t, row.name, err, codes.Unavailable, "STORE_ERROR")
				if text := status.Convert(err).Message(); !strings.Contains(text, "connection refused") {
					t.Errorf("got %q, want the storage's error", text)
				}
				if ctx.Err() != nil {
					t.Error("the response arrived after the deadline")
				}
			})
		})
	}
}

// openStalledServices returns services with one component, whose store is stalled.
func openStalledServices(t *testing.T) services {
	t.Helper()
	registry := stores.NewRegistry("stalled")
	registry.Register("stalled", stores.Backend{Config: struct{}{}, Open: func(context.Context, stores.Component) (stores.Store, error) {
		return stalledStore{}, nil
	}})
	return openServicesFrom(t, registry, nil)
}

var _ grpc.UnaryServerInterceptor = shortenDeadline

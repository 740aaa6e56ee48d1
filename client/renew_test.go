package client_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/mortise-lock/mortise/client"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
)

func TestLease_RenewInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		start := time.Now()
		l := lock(t, c, "disk")
		if got := l.Expires().Sub(start); got != ttl {
			t.Errorf("it expires after %v, want %v", got, ttl)
		}
		time.Sleep(ttl/3 - 1)
		synctest.Wait()
		if got := n.count("Renew"); got != 0 {
			t.Errorf("%d renewals before a third of the TTL", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := n.count("Renew"); got != 1 {
			t.Errorf("%d renewals at a third of the TTL, want 1", got)
		}
		if got := l.Expires().Sub(start); got != ttl+ttl/3 {
			t.Errorf("after a renewal it expires after %v, want %v", got, ttl+ttl/3)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got, want := n.count("Renew"), 61; got != want {
			t.Errorf("%d renewals in ten minutes and a third of a TTL, want %d", got, want)
		}
		unlock(t, l)
	})
}

func TestLease_Lost(t *testing.T) {
	for _, row := range []struct {
		name string
		lose func(n *network, l *client.Lease)
		in   time.Duration // at most, until Context ends
		want error         // besides ErrLost
	}{
		{"revoked", func(n *network, l *client.Lease) { n.revoke(l.Key()) }, ttl / 3, nil},
		{"acquired by another owner", func(n *network, l *client.Lease) { n.revoke(l.Key()); n.lockAsOther(l.Key()) }, ttl / 3, nil},
		{"unreachable until it expires", func(n *network, _ *client.Lease) { n.stop() }, ttl, client.ErrUnavailable},
		{"no responses until it expires", func(n *network, _ *client.Lease) { n.inject(hang) }, ttl, client.ErrUnavailable},
		{"late responses", func(n *network, _ *client.Lease) { n.inject(respondLate) }, ttl, client.ErrUnavailable},
		{"only refusals until it expires", func(n *network, _ *client.Lease) { n.inject(failWithCode(codes.Internal)) }, ttl, nil},
		{"the machine slept", func(n *network, l *client.Lease) { l.Sleep(time.Hour) }, time.Second, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				c := n.client()
				l := lock(t, c, "disk")
				time.Sleep(time.Second / 2)
				synctest.Wait()
				row.lose(n, l)
				start := time.Now()
				<-l.Context().Done()
				if took := time.Since(start); took > row.in {
					t.Errorf("Context ended after %v, want at most %v", took, row.in)
				}
				cause := context.Cause(l.Context())
				if !errors.Is(cause, client.ErrLost) || errors.Is(cause, client.ErrNotHeld) || row.want != nil && !errors.Is(cause, row.want) {
					t.Errorf("the cause is %v, want ErrLost, %v", cause, row.want)
				}
				<-l.Done()
				n.inject(nil)
				synctest.Wait()
				calls := n.count("")
				if err := l.Renew(t.Context()); !errors.Is(err, client.ErrLost) {
					t.Errorf("Renew returned %v, want ErrLost", err)
				}
				for range 2 {
					if err := l.Unlock(t.Context()); !errors.Is(err, client.ErrLost) || errors.Is(err, client.ErrNotHeld) {
						t.Errorf("Unlock returned %v, want ErrLost and not ErrNotHeld", err)
					}
				}
				time.Sleep(10 * time.Minute)
				if got := n.count("") - calls; got != 0 {
					t.Errorf("%d calls were made for a lost lock", got)
				}
				c.Close()
				n.stop()
			})
		})
	}
}

func TestLease_EndsBeforeStoreExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		n.inject(func(ctx context.Context, method string, call func() (any, error)) (any, error) {
			time.Sleep(time.Second) // latency of the request
			return call()
		})
		l := lock(t, c, "disk")
		n.inject(hang)
		other := n.client()
		defer other.Close()
		<-l.Context().Done()
		if n.ownerOf("disk") == "" {
			t.Error("the lock expired before Context ended")
		}
		n.inject(nil)
		second := lock(t, other, "disk")
		if second.Token() <= l.Token() {
			t.Errorf("the next token is %d, after %d", second.Token(), l.Token())
		}
		unlock(t, second)
	})
}

func TestLease_RenewRetries(t *testing.T) {
	for _, row := range []struct {
		name              string
		interrupt, repair func(n *network)
		left              time.Duration // of the lease at the repair
	}{
		{"Mortise is unreachable", (*network).stop, (*network).start, time.Second},
		{"every call fails", func(n *network) { n.inject(failWithCode(codes.Unavailable)) }, func(n *network) { n.inject(nil) }, 200 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := setup(t)
				var leases [10]*client.Lease // several, because the pauses are random
				for i := range leases {
					leases[i] = lock(t, c, strconv.Itoa(i))
				}
				row.interrupt(n)
				time.Sleep(ttl - row.left)
				row.repair(n)
				time.Sleep(row.left)
				synctest.Wait()
				for _, l := range leases {
					if err := l.Err(); err != nil || l.Context().Err() != nil {
						t.Fatalf("the lease ended despite the repair: %v", err)
					}
					if left := time.Until(l.Expires()); left < ttl/2 {
						t.Errorf("%v are left, want it renewed", left)
					}
					unlock(t, l)
				}
			})
		})
	}
}

func TestLease_RenewTimeoutLeavesTimeForRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		l := lock(t, c, "disk")
		first := true
		n.inject(func(ctx context.Context, method string, call func() (any, error)) (any, error) {
			if first {
				first = false
				return hang(ctx, method, call)
			}
			return call()
		})
		time.Sleep(time.Minute)
		if err := l.Err(); err != nil {
			t.Errorf("the lease was lost after one lost message: %v", err)
		}
		unlock(t, l)
	})
}

func TestNoRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		l := lock(t, c, "disk", client.NoRenew(), client.TTL(time.Minute))
		time.Sleep(30 * time.Second)
		if err := l.Renew(t.Context()); err != nil {
			t.Error(err)
		}
		if left := time.Until(l.Expires()); left != time.Minute {
			t.Errorf("%v are left after Renew, want a minute", left)
		}
		start := time.Now()
		<-l.Context().Done()
		if took := time.Since(start); took != time.Minute {
			t.Errorf("it ended after %v", took)
		}
		if cause := context.Cause(l.Context()); !errors.Is(cause, client.ErrLost) {
			t.Errorf("the cause is %v, want ErrLost", cause)
		}
		if got := n.count("Renew"); got != 1 {
			t.Errorf("%d renewals, want one", got)
		}
	})
}

func TestRenew_AfterSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		l := lock(t, c, "disk")
		n.inject(func(_ context.Context, _ string, call func() (any, error)) (any, error) {
			defer l.Sleep(time.Hour)
			return call()
		})
		if err := l.Renew(t.Context()); !errors.Is(err, client.ErrLost) {
			t.Errorf("Renew returned %v, want ErrLost", err)
		}
	})
}

func TestUnlock_WaitsForRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var renewing atomic.Int32
		n, c := setup(t, client.GRPC(grpc.WithUnaryInterceptor(
			func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				switch req.(type) {
				case *lockspb.RenewRequest:
					renewing.Add(1)
					defer renewing.Add(-1)
					defer time.Sleep(time.Second) // it is slow to notice its cancellation
				case *lockspb.UnlockRequest:
					if renewing.Load() != 0 {
						t.Error("the lock is released during a renewal")
					}
				}
				return call(ctx, method, req, reply, conn, opts...)
			},
		)))
		l := lock(t, c, "disk")
		n.inject(func(ctx context.Context, method string, call func() (any, error)) (any, error) {
			if method == "Renew" {
				return hang(ctx, method, call)
			}
			return call()
		})
		time.Sleep(ttl / 3)
		synctest.Wait()
		if renewing.Load() != 1 {
			t.Error("no renewal is in progress")
		}
		unlock(t, l)
	})
}

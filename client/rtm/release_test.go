package rtm_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/client/rtm"
)

// respondAfterCancel is a fault that responds after the caller's ctx has ended.
func respondAfterCancel(ctx context.Context, _ string, call func() (any, error)) (any, error) {
	resp, err := call()
	<-ctx.Done()
	return resp, err
}

// onMethod applies a fault to one method.
func onMethod(method string, f fault) fault {
	return func(ctx context.Context, called string, call func() (any, error)) (any, error) {
		if called != method {
			return call()
		}
		return f(ctx, called, call)
	}
}

func TestAcquireLock_AbandonedGrantIsReleased(t *testing.T) {
	for _, row := range []struct {
		name   string
		fault  func(n *network)
		cancel time.Duration // after which the caller cancels, or 0
		want   error
	}{
		{"whose response is lost", func(n *network) { n.dropResponse("AcquireLock") }, 0, rtm.ErrNotConnected},
		{"whose response is an internal error", func(n *network) {
			n.inject(onMethod("AcquireLock", func(_ context.Context, _ string, call func() (any, error)) (any, error) {
				_, _ = call()
				return nil, status.Error(codes.Internal, "garbled")
			}))
		}, 0, rtm.ErrOperationFailed},
		{"whose response is late", func(n *network) { n.inject(onMethod("AcquireLock", respondAfterCancel)) }, 0, rtm.ErrOperationTimeout},
		{"whose caller has canceled", func(n *network) { n.inject(onMethod("AcquireLock", respondAfterCancel)) }, time.Second, context.Canceled},
		{"while Mortise stops", func(n *network) {
			n.inject(func(_ context.Context, method string, call func() (any, error)) (any, error) {
				resp, err := call()
				if method != "AcquireLock" {
					return resp, err
				}
				go func() {
					n.stop()
					time.Sleep(ttl / 2)
					n.inject(nil)
					n.start()
				}()
				return nil, status.Error(codes.Unavailable, "the server is stopping")
			})
		}, 0, rtm.ErrNotConnected},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := setup(t)
				alice := n.login(t, "alice")
				setLocks(t, alice, "pen")
				row.fault(n)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if row.cancel > 0 {
					time.AfterFunc(row.cancel, cancel)
				}
				l, err := alice.AcquireLock(ctx, room, "pen", false)
				if l != nil || !errors.Is(err, row.want) {
					t.Fatalf("AcquireLock returned %v, %v, want %v", l, err, row.want)
				}
				time.Sleep(ttl/2 + time.Second) // less than its TTL
				n.checkOwner(t, "pen", "")
				n.inject(nil)
				acquire(t, alice, "pen")
			})
		})
	}
}

func TestAcquireLock_CancelCause(t *testing.T) {
	for _, cause := range []error{
		context.Canceled,
		status.Error(codes.NotFound, "the error of another request"),
		rtm.ErrLockAlreadyExist,
		refusalError(t),
	} {
		t.Run(cause.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := setup(t)
				alice := n.login(t, "alice")
				setLocks(t, alice, "pen")
				n.inject(onMethod("AcquireLock", respondAfterCancel))
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(cause) })
				_, err := alice.AcquireLock(ctx, room, "pen", true)
				checkIs(t, "AcquireLock", err, rtm.ErrAcquireFailed, cause)
				synctest.Wait()
				n.checkOwner(t, "pen", "")
			})
		})
	}
}

// refusalError returns an error with which Mortise rejects a request.
func refusalError(t *testing.T) (err error) {
	synctest.Test(t, func(t *testing.T) {
		err = setup(t).login(t, "bob").RemoveLock(t.Context(), room, "no pen")
	})
	return err
}

func TestAcquireLock_ExpiredLockIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice := n.login(t, "alice")
		setLocks(t, alice, "pen")
		l := acquire(t, alice, "pen")
		n.inject(func(ctx context.Context, method string, call func() (any, error)) (any, error) {
			if method == "AcquireLock" {
				time.Sleep(ttl - time.Second/2)
				return call()
			}
			return hang(ctx, method, call)
		})
		time.Sleep(time.Second)
		_, err := alice.AcquireLock(t.Context(), room, "pen", false)
		checkIs(t, "AcquireLock", err, rtm.ErrPerforming) // from the server
		checkIs(t, "the lock ended with", l.Err(), rtm.ErrExpired)
		n.inject(nil)
		time.Sleep(time.Minute)
		n.checkOwner(t, "pen", "")
	})
}

func TestRelease_LostResponseKeepsLaterGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice := n.login(t, "alice")
		setLocks(t, alice, "pen")
		first := acquire(t, alice, "pen")
		n.inject(func(_ context.Context, method string, call func() (any, error)) (any, error) {
			resp, err := call()
			if method == "ReleaseLock" {
				time.Sleep(time.Second)
				return nil, status.Error(codes.Unavailable, "the response is lost")
			}
			return resp, err
		})
		released := make(chan error)
		go func() { released <- first.Release(t.Context()) }()
		synctest.Wait()
		second := acquire(t, alice, "pen")
		checkIs(t, "Release", <-released, rtm.ErrNotConnected)
		n.inject(nil)
		time.Sleep(long)
		checkHeld(t, second)
		n.checkOwner(t, "pen", "alice")
	})
}

func TestAcquireLock_WaitsForBackgroundRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice := n.login(t, "alice")
		setLocks(t, alice, "pen")
		l := acquire(t, alice, "pen")
		n.stop()
		<-l.Done()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := alice.AcquireLock(ctx, room, "pen", true)
		checkIs(t, "AcquireLock for a second", err, rtm.ErrOperationTimeout, context.DeadlineExceeded)
		got := startWaiting(t.Context(), alice, "pen")
		n.start()
		end := <-got
		if end.err != nil || end.lock.Rev <= l.Rev {
			t.Fatalf("AcquireLock returned %+v after rev %d", end, l.Rev)
		}
		time.Sleep(long)
		checkHeld(t, end.lock)
	})
}

package rtm_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/client/rtm"
)

// acquireResult is the result of an AcquireLock.
type acquireResult struct {
	lock *rtm.Lock
	err  error
}

// startWaiting starts an AcquireLock of a lock in the room, and returns when it waits.
func startWaiting(ctx context.Context, u *rtm.User, name string) <-chan acquireResult {
	got := make(chan acquireResult, 1)
	go func() {
		l, err := u.AcquireLock(ctx, room, name, true)
		got <- acquireResult{l, err}
	}()
	synctest.Wait()
	return got
}

// dropResponse drops the response to the next successful call of the method.
func (n *network) dropResponse(method string) {
	var lost atomic.Bool
	n.inject(func(_ context.Context, called string, call func() (any, error)) (any, error) {
		resp, err := call()
		if called == method && err == nil && !lost.Swap(true) {
			return nil, status.Error(codes.Unavailable, "the response is lost")
		}
		return resp, err
	})
}

func TestAcquireLock_WaitsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice, bob, carol := n.login(t, "alice"), n.login(t, "bob"), n.login(t, "carol")
		setLocks(t, alice, "pen")
		first := acquire(t, alice, "pen")
		second, third := startWaiting(t.Context(), bob, "pen"), startWaiting(t.Context(), carol, "pen")
		time.Sleep(long) // more than a third of the TTL: the client confirms the grant
		if err := first.Release(t.Context()); err != nil {
			t.Error(err)
		}
		got := <-second
		if got.err != nil || got.lock.Rev <= first.Rev {
			t.Fatalf("bob got %+v after rev %d", got, first.Rev)
		}
		if err := bob.RevokeLock(t.Context(), room, "pen", ""); err != nil {
			t.Error(err)
		}
		last := <-third
		if last.err != nil || last.lock.Rev <= got.lock.Rev {
			t.Fatalf("carol got %+v after rev %d", last, got.lock.Rev)
		}
		time.Sleep(long)
		checkHeld(t, last.lock)
	})
}

func TestAcquireLock_WaitEnds(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(t *testing.T, alice, bob *rtm.User, cancel context.CancelFunc)
		want []error
	}{
		{"with its ctx", func(_ *testing.T, _, _ *rtm.User, cancel context.CancelFunc) { cancel() },
			[]error{rtm.ErrAcquireFailed, context.Canceled}},
		{"at its ctx's deadline", func(*testing.T, *rtm.User, *rtm.User, context.CancelFunc) { time.Sleep(long) },
			[]error{rtm.ErrOperationTimeout, context.DeadlineExceeded}},
		{"with ReleaseLock", func(t *testing.T, _, bob *rtm.User, _ context.CancelFunc) {
			checkIs(t, "ReleaseLock", bob.ReleaseLock(t.Context(), room, "pen"))
		}, []error{rtm.ErrAcquireFailed}},
		{"with RemoveLock", func(t *testing.T, alice, _ *rtm.User, _ context.CancelFunc) {
			checkIs(t, "RemoveLock", alice.RemoveLock(t.Context(), room, "pen"))
		}, []error{rtm.ErrLockNotExist}},
		{"with Logout", func(t *testing.T, _, bob *rtm.User, _ context.CancelFunc) {
			checkIs(t, "Logout", bob.Logout(t.Context(), true))
		}, []error{rtm.ErrAcquireFailed, rtm.ErrNotLogin}},
		{"with Close", func(_ *testing.T, _, bob *rtm.User, _ context.CancelFunc) { bob.Close() },
			[]error{rtm.ErrAcquireFailed, rtm.ErrNotLogin}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := setup(t)
				alice, bob := n.login(t, "alice"), n.login(t, "bob")
				setLocks(t, alice, "pen")
				acquire(t, alice, "pen")
				ctx, cancel := context.WithTimeout(t.Context(), long)
				defer cancel()
				got := startWaiting(ctx, bob, "pen")
				if n.waiters() != 1 {
					t.Fatal("bob does not wait")
				}
				row.end(t, alice, bob, cancel)
				end := <-got
				if end.err == nil {
					t.Fatal("bob acquired the lock")
				}
				checkIs(t, "AcquireLock", end.err, row.want...)
				synctest.Wait()
				if n.waiters() != 0 || len(bob.Locks()) != 0 {
					t.Errorf("%d waiters, and bob holds %v", n.waiters(), bob.Locks())
				}
				_ = alice.ReleaseLock(t.Context(), room, "pen") // if it still exists
				n.checkOwner(t, "pen", "")
			})
		})
	}
}

func TestAcquireLock_Performing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice, bob := n.login(t, "alice"), n.login(t, "bob")
		setLocks(t, alice, "pen")
		l := acquire(t, alice, "pen")
		for _, retry := range []bool{false, true} {
			_, err := alice.AcquireLock(t.Context(), room, "pen", retry)
			checkIs(t, "AcquireLock of the owner", err, rtm.ErrPerforming)
		}
		got := startWaiting(t.Context(), bob, "pen")
		_, err := bob.AcquireLock(t.Context(), room, "pen", true)
		checkIs(t, "AcquireLock of a waiter", err, rtm.ErrPerforming)
		checkHeld(t, l)
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if end := <-got; end.err != nil {
			t.Error(end.err)
		}
	})
}

func TestAcquireLock_Restart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice, bob := n.login(t, "alice"), n.login(t, "bob")
		setLocks(t, alice, "pen")
		l := acquire(t, alice, "pen")
		got := startWaiting(t.Context(), bob, "pen")
		for range 3 {
			n.stop()
			time.Sleep(ttl / 2)
			n.start()
			time.Sleep(time.Minute)
			if n.waiters() != 1 {
				t.Errorf("%d waiters, want 1", n.waiters())
			}
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		end := <-got
		if end.err != nil {
			t.Fatal(end.err)
		}
		n.stop() // the next AcquireLock starts without a server
		other := startWaiting(t.Context(), bob, "ink")
		time.Sleep(ttl / 2)
		n.start()
		checkIs(t, "AcquireLock", (<-other).err, rtm.ErrLockNotExist)
		time.Sleep(long)
		checkHeld(t, end.lock)
	})
}

func TestAcquireLock_LostResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice := n.login(t, "alice")
		setLocks(t, alice, "pen")
		n.dropResponse("AcquireLock")
		l, err := alice.AcquireLock(t.Context(), room, "pen", true)
		if err != nil {
			t.Fatal(err)
		}
		if owner, rev := n.ownerOf(t, "pen"); owner != "alice" || rev != l.Rev {
			t.Errorf("%q holds it with %d, want alice with %d", owner, rev, l.Rev)
		}
		if got := n.count("ReleaseLock"); got != 0 {
			t.Errorf("it was released %d times", got)
		}
		time.Sleep(long)
		checkHeld(t, l)
	})
}

func TestAcquireLock_ExpiredWhileRetrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice := n.login(t, "alice")
		setLocks(t, alice, "pen")
		l := acquire(t, alice, "pen")
		n.cutConns()
		got := startWaiting(t.Context(), alice, "pen")
		<-l.Done()
		end := <-got // the server has not noticed, and responds that alice has the lock
		if end.err != nil || end.lock.Rev != l.Rev {
			t.Fatalf("AcquireLock returned %+v, want rev %d", end, l.Rev)
		}
		time.Sleep(long)
		checkHeld(t, end.lock)
		n.checkOwner(t, "pen", "alice")
	})
}

func TestAcquireLock_KeepsHeldLock(t *testing.T) {
	for _, row := range []struct {
		name  string
		fault func(n *network)
		retry bool
		want  error
	}{
		{"no connection", func(n *network) { n.inject(onMethod("AcquireLock", failWithCode(codes.Unavailable))) }, false, rtm.ErrNotConnected},
		{"no response", func(n *network) { n.inject(onMethod("AcquireLock", hang)) }, false, rtm.ErrOperationTimeout},
		{"a retry of a lost request", func(n *network) {
			n.inject(func(context.Context, string, func() (any, error)) (any, error) {
				n.inject(nil)
				return nil, status.Error(codes.Unavailable, "no")
			})
		}, true, rtm.ErrPerforming},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := setup(t)
				alice := n.login(t, "alice")
				if _, err := alice.SetLock(t.Context(), room, "pen", time.Minute); err != nil {
					t.Fatal(err)
				}
				l := acquire(t, alice, "pen")
				row.fault(n)
				_, err := alice.AcquireLock(t.Context(), room, "pen", row.retry)
				checkIs(t, "AcquireLock", err, row.want)
				n.inject(nil)
				time.Sleep(long)
				checkHeld(t, l)
				n.checkOwner(t, "pen", "alice")
			})
		})
	}
}

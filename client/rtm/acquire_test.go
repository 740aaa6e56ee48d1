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

// acquisition is what AcquireLock returned.
type acquisition struct {
	lock *rtm.Lock
	err  error
}

// waits lets a user wait for the room's lock, and returns when he does.
func waits(ctx context.Context, u *rtm.User, name string) <-chan acquisition {
	got := make(chan acquisition, 1)
	go func() {
		l, err := u.AcquireLock(ctx, room, name, true)
		got <- acquisition{l, err}
	}()
	synctest.Wait()
	return got
}

// loseAnswer lets the answer to the next call of the method that succeeds be lost.
func (n *network) loseAnswer(method string) {
	var lost atomic.Bool
	n.with(func(_ context.Context, called string, call func() (any, error)) (any, error) {
		resp, err := call()
		if called == method && err == nil && !lost.Swap(true) {
			return nil, status.Error(codes.Unavailable, "the answer is lost")
		}
		return resp, err
	})
}

func TestUsersWaitForALockInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		alice, bob, carol := n.login(t, "alice"), n.login(t, "bob"), n.login(t, "carol")
		set(t, alice, "pen")
		first := acquire(t, alice, "pen")
		second, third := waits(t.Context(), bob, "pen"), waits(t.Context(), carol, "pen")
		time.Sleep(long) // more than a third of the TTL, so that the grant is asked about
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
		checkLives(t, last.lock)
	})
}

func TestWaitingEnds(t *testing.T) {
	for _, row := range []struct {
		says string
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
		t.Run(row.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := open(t)
				alice, bob := n.login(t, "alice"), n.login(t, "bob")
				set(t, alice, "pen")
				acquire(t, alice, "pen")
				ctx, cancel := context.WithTimeout(t.Context(), long)
				defer cancel()
				got := waits(ctx, bob, "pen")
				if n.waiters() != 1 {
					t.Fatal("he does not wait")
				}
				row.end(t, alice, bob, cancel)
				end := <-got
				if end.err == nil {
					t.Fatal("he got it")
				}
				checkIs(t, "AcquireLock", end.err, row.want...)
				synctest.Wait()
				if n.waiters() != 0 || len(bob.Locks()) != 0 {
					t.Errorf("%d wait, and he holds %v", n.waiters(), bob.Locks())
				}
				_ = alice.ReleaseLock(t.Context(), room, "pen") // if it exists still
				n.checkOwner(t, "pen", "")
			})
		})
	}
}

func TestOneWaitAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		alice, bob := n.login(t, "alice"), n.login(t, "bob")
		set(t, alice, "pen")
		l := acquire(t, alice, "pen")
		for _, retry := range []bool{false, true} {
			_, err := alice.AcquireLock(t.Context(), room, "pen", retry)
			checkIs(t, "AcquireLock of the owner", err, rtm.ErrPerforming)
		}
		got := waits(t.Context(), bob, "pen")
		_, err := bob.AcquireLock(t.Context(), room, "pen", true)
		checkIs(t, "AcquireLock of one who waits", err, rtm.ErrPerforming)
		checkLives(t, l)
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if end := <-got; end.err != nil {
			t.Error(end.err)
		}
	})
}

func TestWaitingGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		alice, bob := n.login(t, "alice"), n.login(t, "bob")
		set(t, alice, "pen")
		l := acquire(t, alice, "pen")
		got := waits(t.Context(), bob, "pen")
		for range 3 {
			n.stop()
			time.Sleep(ttl / 2)
			n.start()
			time.Sleep(time.Minute)
			if n.waiters() != 1 {
				t.Errorf("%d wait, want 1", n.waiters())
			}
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		end := <-got
		if end.err != nil {
			t.Fatal(end.err)
		}
		n.stop() // he waits for another, while nobody is there
		other := waits(t.Context(), bob, "ink")
		time.Sleep(ttl / 2)
		n.start()
		checkIs(t, "AcquireLock", (<-other).err, rtm.ErrLockNotExist)
		time.Sleep(long)
		checkLives(t, end.lock)
	})
}

func TestAGrantWhoseAnswerWasLostIsKeptByWhoGoesOnAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		alice := n.login(t, "alice")
		set(t, alice, "pen")
		n.loseAnswer("AcquireLock")
		l, err := alice.AcquireLock(t.Context(), room, "pen", true)
		if err != nil {
			t.Fatal(err)
		}
		if owner, rev := n.owner(t, "pen"); owner != "alice" || rev != l.Rev {
			t.Errorf("%q holds it with %d, want alice with %d", owner, rev, l.Rev)
		}
		if got := n.count("ReleaseLock"); got != 0 {
			t.Errorf("it was released %d times", got)
		}
		time.Sleep(long)
		checkLives(t, l)
	})
}

func TestALockThatIsBelievedLostWhileItIsAskedForIsGotAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		alice := n.login(t, "alice")
		set(t, alice, "pen")
		l := acquire(t, alice, "pen")
		n.cut()
		got := waits(t.Context(), alice, "pen")
		<-l.Done()
		end := <-got // the server, which did not notice, says that she has it
		if end.err != nil || end.lock.Rev != l.Rev {
			t.Fatalf("AcquireLock returned %+v, want rev %d", end, l.Rev)
		}
		time.Sleep(long)
		checkLives(t, end.lock)
		n.checkOwner(t, "pen", "alice")
	})
}

func TestWhatBecomesOfARequestLeavesALockThatIsHeldAlone(t *testing.T) {
	for _, row := range []struct {
		says   string
		meddle func(n *network)
		retry  bool
		want   error
	}{
		{"no connection", func(n *network) { n.with(only("AcquireLock", answers(codes.Unavailable))) }, false, rtm.ErrNotConnected},
		{"no answer", func(n *network) { n.with(only("AcquireLock", silent)) }, false, rtm.ErrOperationTimeout},
		{"another request after one that was lost", func(n *network) {
			n.with(func(context.Context, string, func() (any, error)) (any, error) {
				n.with(nil)
				return nil, status.Error(codes.Unavailable, "no")
			})
		}, true, rtm.ErrPerforming},
	} {
		t.Run(row.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := open(t)
				alice := n.login(t, "alice")
				if _, err := alice.SetLock(t.Context(), room, "pen", time.Minute); err != nil {
					t.Fatal(err)
				}
				l := acquire(t, alice, "pen")
				row.meddle(n)
				_, err := alice.AcquireLock(t.Context(), room, "pen", row.retry)
				checkIs(t, "AcquireLock", err, row.want)
				n.with(nil)
				time.Sleep(long)
				checkLives(t, l)
				n.checkOwner(t, "pen", "alice")
			})
		})
	}
}

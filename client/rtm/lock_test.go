package rtm_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/client/rtm"
)

func TestLock_Online(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice := n.login(t, "alice")
		setLocks(t, alice, "pen")
		l := acquire(t, alice, "pen")
		time.Sleep(long)
		checkHeld(t, l)
		if owner, rev := n.ownerOf(t, "pen"); owner != "alice" || rev != l.Rev || l.Rev == 0 {
			t.Errorf("%q holds it with %d, want alice with %d", owner, rev, l.Rev)
		}
		want := rtm.Detail{Channel: room, Name: "pen", Owner: "alice", TTL: ttl, Rev: l.Rev}
		if l.Detail != want {
			t.Errorf("the lock is %+v, want %+v", l.Detail, want)
		}
		if got := n.count("Session"); got != 1 {
			t.Errorf("%d sessions, want 1", got)
		}
	})
}

// endCase is a way in which alice's lock of the pen ends.
type endCase struct {
	name string
	end  func(t *testing.T, n *network, alice, bob *rtm.User, l *rtm.Lock) error
	want []error // of Err
	lost bool
	who  string // the owner then
}

func (e endCase) check(t *testing.T) {
	n := setup(t)
	alice, bob := n.login(t, "alice"), n.login(t, "bob")
	setLocks(t, alice, "pen")
	l := acquire(t, alice, "pen")
	var lost []*rtm.Lock
	collected := make(chan struct{})
	seq := alice.Lost(t.Context())
	go func() {
		defer close(collected)
		lost = slices.Collect(seq)
	}()
	checkHeld(t, l)
	if err := e.end(t, n, alice, bob, l); err != nil {
		t.Error(err)
	}
	synctest.Wait()
	if l.Err() == nil || !errors.Is(context.Cause(l.Context()), l.Err()) {
		t.Fatalf("it has ended with %v, and its Context with %v", l.Err(), context.Cause(l.Context()))
	}
	<-l.Done()
	checkIs(t, "the lock ended with", l.Err(), e.want...)
	if errors.Is(l.Err(), client.ErrLost) != e.lost {
		t.Errorf("it has ended with %v; is it lost? want %v", l.Err(), e.lost)
	}
	if slices.Contains(alice.Locks(), l) {
		t.Error("it is among Locks")
	}
	n.checkOwner(t, "pen", e.who)
	alice.Close()
	<-collected
	if e.lost != slices.Contains(lost, l) {
		t.Errorf("lost are %v, want this one: %v", lost, e.lost)
	}
}

func TestLock_End(t *testing.T) {
	for _, e := range []endCase{
		{"by ReleaseLock", func(t *testing.T, _ *network, alice, _ *rtm.User, _ *rtm.Lock) error {
			return alice.ReleaseLock(t.Context(), room, "pen")
		}, []error{rtm.ErrReleased}, false, ""},
		{"by Release", func(t *testing.T, _ *network, _, _ *rtm.User, l *rtm.Lock) error {
			return l.Release(t.Context())
		}, []error{rtm.ErrReleased}, false, ""},
		{"by Release with a ctx that has ended", func(_ *testing.T, _ *network, _, _ *rtm.User, l *rtm.Lock) error {
			return l.Release(canceledContext())
		}, []error{rtm.ErrReleased}, false, ""},
		{"by Logout that releases", func(_ *testing.T, _ *network, alice, _ *rtm.User, _ *rtm.Lock) error {
			return alice.Logout(canceledContext(), true)
		}, []error{rtm.ErrReleased}, false, ""},
		{"by Logout that does not", func(t *testing.T, _ *network, alice, _ *rtm.User, _ *rtm.Lock) error {
			return alice.Logout(t.Context(), false)
		}, []error{rtm.ErrNotLogin}, false, "alice"},
		{"by Close", func(_ *testing.T, _ *network, alice, _ *rtm.User, _ *rtm.Lock) error {
			alice.Close()
			return nil
		}, []error{rtm.ErrNotLogin}, false, "alice"},
		{"revoked by another", func(t *testing.T, _ *network, _, bob *rtm.User, _ *rtm.Lock) error {
			return bob.RevokeLock(t.Context(), room, "pen", "alice")
		}, []error{rtm.ErrRevoked}, true, ""},
		{"revoked by the owner", func(t *testing.T, _ *network, alice, _ *rtm.User, _ *rtm.Lock) error {
			return alice.RevokeLock(t.Context(), room, "pen", "")
		}, []error{rtm.ErrRevoked}, true, ""},
		{"removed by another", func(t *testing.T, _ *network, _, bob *rtm.User, _ *rtm.Lock) error {
			return bob.RemoveLock(t.Context(), room, "pen")
		}, []error{rtm.ErrRemoved}, true, ""},
		{"removed by the owner", func(t *testing.T, _ *network, alice, _ *rtm.User, _ *rtm.Lock) error {
			return alice.RemoveLock(t.Context(), room, "pen")
		}, []error{rtm.ErrRemoved}, true, ""},
		{"by a login elsewhere", func(t *testing.T, n *network, _, _ *rtm.User, _ *rtm.Lock) error {
			n.login(t, "alice")
			return nil
		}, []error{rtm.ErrNotLogin, rtm.ErrDuplicateUserID}, true, "alice"},
		{"by a logout elsewhere", func(t *testing.T, n *network, _, _ *rtm.User, _ *rtm.Lock) error {
			return n.logout(t, "alice")
		}, []error{rtm.ErrNotLogin}, true, "alice"},
		{"expired", func(_ *testing.T, n *network, _, _ *rtm.User, _ *rtm.Lock) error {
			n.stop()
			time.Sleep(ttl)
			return nil
		}, []error{rtm.ErrExpired}, true, ""},
		{"the machine slept", func(_ *testing.T, _ *network, _, _ *rtm.User, l *rtm.Lock) error {
			l.Sleep(long)
			time.Sleep(time.Second)
			return nil
		}, []error{rtm.ErrExpired}, true, ""},
	} {
		t.Run(e.name, func(t *testing.T) { synctest.Test(t, e.check) })
	}
}

// canceledContext returns a ctx that has ended.
func canceledContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestLock_EndsBeforeServerExpiry(t *testing.T) {
	for _, row := range []struct {
		name string
		fail func(n *network)
	}{
		{"when Mortise is unreachable", func(n *network) { n.stop(); time.Sleep(2 * time.Second); n.inject(hang); n.start() }},
		{"when the connection is cut", (*network).cutConns},
		{"when Mortise does not respond", func(n *network) { n.inject(hang) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := setup(t)
				alice := n.login(t, "alice")
				setLocks(t, alice, "pen")
				l := acquire(t, alice, "pen")
				time.Sleep(time.Minute + 1234*time.Millisecond)
				start := time.Now()
				row.fail(n)
				<-l.Done()
				checkIs(t, "the lock ended with", l.Err(), rtm.ErrExpired)
				if took := time.Since(start); took > ttl {
					t.Errorf("it ended after %v, want at most %v", took, ttl)
				}
				if who, _ := n.ownerOf(t, "pen"); who != "alice" {
					t.Errorf("%q holds it before alice's Lock has ended", who)
				}
				n.inject(nil)
				time.Sleep(time.Minute) // the client releases the lock
				n.checkOwner(t, "pen", "")
				acquire(t, alice, "pen")
			})
		})
	}
}

func TestLock_Reconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice := n.login(t, "alice")
		setLocks(t, alice, "pen")
		l := acquire(t, alice, "pen")
		for range 5 {
			n.stop()
			time.Sleep(ttl / 2)
			n.start()
			time.Sleep(ttl)
		}
		time.Sleep(long)
		checkHeld(t, l)
		if owner, rev := n.ownerOf(t, "pen"); owner != "alice" || rev != l.Rev {
			t.Errorf("%q holds it with %d, want alice with %d", owner, rev, l.Rev)
		}
		if got := n.count("Session"); got != 6 {
			t.Errorf("%d sessions, want 6", got)
		}
	})
}

func TestLock_ReconnectBeforeExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice := n.login(t, "alice")
		setLocks(t, alice, "pen")
		l := acquire(t, alice, "pen")
		time.Sleep(ttl / 4)
		n.stop()
		time.Sleep(ttl*3/4 - 700*time.Millisecond)
		n.start()
		time.Sleep(long)
		checkHeld(t, l)
	})
}

func TestLock_LostWhileOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice := n.login(t, "alice")
		setLocks(t, alice, "pen", "ink")
		pen, ink := acquire(t, alice, "pen"), acquire(t, alice, "ink")
		n.stop()
		if err := n.store.Revoke(t.Context(), "rtm||1||room||pen", "alice"); err != nil {
			t.Fatal(err)
		}
		n.start()
		time.Sleep(time.Second)
		checkIs(t, "the pen ended with", pen.Err(), rtm.ErrExpired)
		checkHeld(t, ink)
		again := acquire(t, alice, "pen")
		if again.Rev <= pen.Rev {
			t.Errorf("the new rev is %d, the old %d", again.Rev, pen.Rev)
		}
		checkIs(t, "a second Release", pen.Release(t.Context()), rtm.ErrExpired)
		n.checkOwner(t, "pen", "alice")
		time.Sleep(long)
		checkHeld(t, again)
		checkHeld(t, ink)
	})
}

func TestRelease_Unreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice := n.login(t, "alice")
		setLocks(t, alice, "pen")
		l := acquire(t, alice, "pen")
		n.stop()
		checkIs(t, "Release", l.Release(t.Context()), rtm.ErrNotConnected)
		checkIs(t, "the lock ended with", l.Err(), rtm.ErrReleased)
		checkIs(t, "a second Release", l.Release(t.Context()), rtm.ErrReleased)
		_, err := alice.AcquireLock(t.Context(), room, "pen", false)
		checkIs(t, "AcquireLock meanwhile", err, rtm.ErrPerforming)
		n.checkOwner(t, "pen", "alice")
		n.start()
		time.Sleep(time.Second)
		n.checkOwner(t, "pen", "")
		acquire(t, alice, "pen")
	})
}

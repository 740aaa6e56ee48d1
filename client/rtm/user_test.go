package rtm_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/client/rtm"
)

func TestLogin_Error(t *testing.T) {
	for _, row := range []struct {
		name string
		user string
		opts []client.DialOption
		make func(n *network)
		want []error
		in   time.Duration
	}{
		{"no name", "", nil, nil, []error{rtm.ErrNotLogin}, 0},
		{"an invalid name", "al/ice", nil, nil, []error{rtm.ErrInvalidUserID}, 0},
		{"a name that is not UTF-8", "\xff", nil, nil, []error{rtm.ErrInvalidParameter}, 0},
		{"another component", "alice", []client.DialOption{client.Store("other")}, nil, []error{rtm.ErrLockNotAvailable}, 0},
		{"no server", "alice", nil, (*network).stop, []error{rtm.ErrNotConnected}, time.Second},
		{"a wrong token", "alice", nil, func(n *network) { n.inject(failWithCode(codes.Unauthenticated)) }, []error{rtm.ErrInvalidToken}, 0},
		{"no service", "alice", nil, func(n *network) { n.inject(failWithCode(codes.Unimplemented)) }, []error{rtm.ErrServiceNotSupported}, 0},
		{"no response", "alice", nil, func(n *network) { n.inject(hang) }, []error{rtm.ErrOperationTimeout}, 10 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := setup(t)
				c := n.dialClient(t, row.opts...)
				if row.make != nil {
					row.make(n)
				}
				start := time.Now()
				u, err := rtm.Login(t.Context(), c, row.user)
				if u != nil || err == nil {
					t.Fatalf("Login returned %v, %v", u, err)
				}
				checkIs(t, "Login", err, row.want...)
				if took := time.Since(start); took > row.in {
					t.Errorf("it took %v, want at most %v", took, row.in)
				}
			})
		})
	}
}

func TestLogin_StoreAndContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		type key struct{}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		c := n.dialClient(t).With(client.Store("chat"))
		alice, err := rtm.Login(ctx, c, "alice")
		if err != nil {
			t.Fatal(err)
		}
		defer alice.Close()
		if alice.Name() != "alice" {
			t.Errorf("the name is %q", alice.Name())
		}
		setLocks(t, alice, "pen")
		l, err := alice.AcquireLock(ctx, room, "pen", true)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		time.Sleep(long)
		checkHeld(t, l)
		if got := l.Context().Value(key{}); got != "value" {
			t.Errorf("the lock's Context has %v", got)
		}
		_, err = rtm.Login(ctx, c, "bob")
		checkIs(t, "Login with a ctx that has ended", err, context.Canceled)
	})
}

func TestLogin_Again(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice := n.login(t, "alice")
		setLocks(t, alice, "pen", "ink", "nib")
		pen, ink := acquire(t, alice, "pen"), acquire(t, alice, "ink")
		alice.Close()
		time.Sleep(ttl - time.Second)
		alice = n.login(t, "alice")
		locks := alice.Locks()
		if len(locks) != 2 || locks[0].Detail != ink.Detail || locks[1].Detail != pen.Detail {
			t.Fatalf("alice has %+v, want %+v, %+v", locks, ink.Detail, pen.Detail)
		}
		time.Sleep(long)
		checkHeld(t, locks[0])
		if err := locks[1].Release(t.Context()); err != nil {
			t.Error(err)
		}
		n.checkOwner(t, "pen", "")
		n.checkOwner(t, "ink", "alice")
		if err := alice.Logout(t.Context(), false); err != nil {
			t.Error(err)
		}
		time.Sleep(ttl + time.Second)
		if got := n.login(t, "alice").Locks(); len(got) != 0 {
			t.Errorf("later alice has %v", got)
		}
	})
}

func TestLogin_Duplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		first, bob := n.login(t, "alice"), n.login(t, "bob")
		setLocks(t, first, "pen", "ink")
		l := acquire(t, first, "pen")
		acquire(t, bob, "ink")
		waiting := startWaiting(t.Context(), first, "ink")
		second := n.login(t, "alice")
		<-first.Done()
		replaced := []error{rtm.ErrNotLogin, rtm.ErrDuplicateUserID}
		checkIs(t, "Err", first.Err(), replaced...)
		checkIs(t, "AcquireLock that waited", (<-waiting).err, append(replaced, rtm.ErrAcquireFailed)...)
		_, err := first.GetLock(t.Context(), room)
		checkIs(t, "GetLock", err, replaced...)
		if _, err = first.AcquireLock(t.Context(), room, "pen", true); errors.Is(err, rtm.ErrAcquireFailed) {
			t.Errorf("AcquireLock returned %v", err)
		}
		checkIs(t, "AcquireLock", err, replaced...)
		checkIs(t, "ReleaseLock", first.ReleaseLock(t.Context(), room, "pen"), replaced...)
		checkIs(t, "Logout", first.Logout(t.Context(), true), replaced...)
		checkIs(t, "Release", l.Release(t.Context()), replaced...)
		time.Sleep(long)
		locks := second.Locks()
		if len(locks) != 1 || locks[0].Rev != l.Rev || second.Err() != nil {
			t.Errorf("the second has %v, and has ended with %v", locks, second.Err())
		}
		n.checkOwner(t, "pen", "alice")
		if sessions, releases := n.count("Session"), n.count("ReleaseLock"); sessions != 3 || releases != 0 {
			t.Errorf("%d sessions and %d releases, want 3 and 0", sessions, releases)
		}
	})
}

func TestUser_ClientClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		c := n.client()
		alice, err := rtm.Login(t.Context(), c, "alice")
		if err != nil {
			t.Fatal(err)
		}
		setLocks(t, alice, "pen")
		l := acquire(t, alice, "pen")
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		<-alice.Done()
		checkIs(t, "Err", alice.Err(), rtm.ErrNotLogin, client.ErrClosed)
		checkIs(t, "the lock ended with", l.Err(), client.ErrLost, client.ErrClosed)
		_, err = rtm.Login(t.Context(), c, "bob")
		checkIs(t, "Login", err, client.ErrClosed)
		alice.Close()
	})
}

func TestLogout_Twice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice, bob := n.login(t, "alice"), n.login(t, "bob")
		setLocks(t, alice, "pen")
		acquire(t, alice, "pen")
		if err := alice.Logout(t.Context(), true); err != nil {
			t.Error(err)
		}
		checkIs(t, "a second Logout", alice.Logout(t.Context(), true), rtm.ErrNotLogin)
		alice.Close()
		_, err := alice.SetLock(t.Context(), room, "ink", 0)
		checkIs(t, "SetLock", err, rtm.ErrNotLogin)
		if want := `mortise: RTMSetLockOperation: user "alice" has logged out (-10002 NOT_LOGIN)`; err.Error() != want {
			t.Errorf("SetLock returned %q, want %q", err, want)
		}
		acquire(t, bob, "pen")
		n.stop()
		checkIs(t, "Logout without a server", bob.Logout(t.Context(), true), rtm.ErrNotConnected)
		checkIs(t, "Err", bob.Err(), rtm.ErrNotLogin)
	})
}

func TestUser_CloseStopsGoroutines(t *testing.T) {
	n := setup(t)
	c := n.dialClient(t)
	bob := n.login(t, "bob")
	setLocks(t, bob, "pen", "ink")
	acquire(t, bob, "ink")
	alice, err := rtm.Login(t.Context(), c, "alice")
	if err != nil {
		t.Fatal(err)
	}
	acquire(t, alice, "pen")
	ended := make(chan error, 3)
	go func() {
		_, err := alice.AcquireLock(t.Context(), room, "ink", true)
		ended <- err
	}()
	begun := make(chan struct{})
	go func() {
		var last error
		for e, err := range alice.Events(t.Context(), room) {
			if e.Type == rtm.EventSnapshot {
				close(begun)
			}
			last = err
		}
		ended <- last
	}()
	<-begun
	go func() {
		for l := range alice.Lost(t.Context()) {
			ended <- errors.New(l.Name + " is lost")
		}
		ended <- rtm.ErrNotLogin
	}()
	bob.Close()
	alice.Close()
	for range cap(ended) {
		checkIs(t, "alice's call", <-ended, rtm.ErrNotLogin)
	}
	deadline := time.Now().Add(time.Second) // for goroutines that are about to return
	for userStack() != "" && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if stack := userStack(); stack != "" {
		t.Errorf("a goroutine of the User still runs:\n%s", stack)
	}
}

// userStack returns the stack of a goroutine of a User, or "".
func userStack() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	at := strings.Index(string(stacks), "client/rtm.(*User)")
	if at < 0 {
		return ""
	}
	return string(stacks[at:min(len(stacks), at+1000)])
}

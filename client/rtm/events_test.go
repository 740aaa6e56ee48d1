package rtm_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/mortise-lock/mortise/client/rtm"
)

// collectEvents collects the room's events until ctx ends, and then sends the last error.
// It returns when the subscription has started.
func collectEvents(ctx context.Context, u *rtm.User, events *[]rtm.Event) <-chan error {
	synctest.Wait()
	last := make(chan error, 1)
	go func() {
		for e, err := range u.Events(ctx, room) {
			if err != nil {
				last <- err
				continue
			}
			*events = append(*events, e)
		}
		close(last)
	}()
	synctest.Wait()
	return last
}

// equalEvents reports whether two events are equal.
func equalEvents(a, b rtm.Event) bool {
	return a.Type == b.Type && a.Lock == b.Lock && slices.Equal(a.Locks, b.Locks)
}

func checkEvents(t *testing.T, got []rtm.Event, want ...rtm.Event) {
	t.Helper()
	if !slices.EqualFunc(got, want, equalEvents) {
		t.Errorf("the events are %+v, want %+v", got, want)
	}
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice, bob := n.login(t, "alice"), n.login(t, "bob")
		setLocks(t, alice, "ink")
		if _, err := alice.SetLock(t.Context(), rtm.Stream("room"), "other", 0); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var events []rtm.Event
		last := collectEvents(ctx, bob, &events)
		setLocks(t, alice, "pen")
		l := acquire(t, alice, "pen")
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if err := alice.RemoveLock(t.Context(), room, "pen"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		free := rtm.Detail{Channel: room, Name: "pen", TTL: ttl}
		checkEvents(t, events,
			rtm.Event{Type: rtm.EventSnapshot, Locks: []rtm.Detail{{Channel: room, Name: "ink", TTL: ttl}}},
			rtm.Event{Type: rtm.EventSet, Lock: free},
			rtm.Event{Type: rtm.EventAcquired, Lock: l.Detail},
			rtm.Event{Type: rtm.EventReleased, Lock: l.Detail},
			rtm.Event{Type: rtm.EventRemoved, Lock: free},
		)
		cancel()
		checkIs(t, "the last error", <-last, context.Canceled, rtm.ErrOperationFailed)
	})
}

func TestEvents_Restart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice, bob := n.login(t, "alice"), n.login(t, "bob")
		setLocks(t, alice, "pen")
		var events []rtm.Event
		last := collectEvents(t.Context(), bob, &events)
		n.stop()
		time.Sleep(time.Minute)
		n.start()
		time.Sleep(time.Second)
		l := acquire(t, alice, "pen")
		time.Sleep(long)
		synctest.Wait()
		snapshot := rtm.Event{Type: rtm.EventSnapshot, Locks: []rtm.Detail{{Channel: room, Name: "pen", TTL: ttl}}}
		checkEvents(t, events, snapshot, snapshot, rtm.Event{Type: rtm.EventAcquired, Lock: l.Detail})
		bob.Close()
		checkIs(t, "the last error", <-last, rtm.ErrNotLogin)
	})
}

func TestEvents_Break(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice := n.login(t, "alice")
		ended := make(chan struct{})
		n.inject(func(_ context.Context, method string, call func() (any, error)) (any, error) {
			if method == "Subscribe" {
				defer close(ended)
			}
			return call()
		})
		for e, err := range alice.Events(t.Context(), room) {
			if e.Type != rtm.EventSnapshot || err != nil {
				t.Errorf("the first event is %+v, %v", e, err)
			}
			break
		}
		<-ended // on the server
	})
}

func TestEvents_Error(t *testing.T) {
	for _, row := range []struct {
		name    string
		channel rtm.Channel
		make    func(n *network)
		want    error
	}{
		{"an invalid channel", rtm.Message(""), nil, rtm.ErrInvalidChannelName},
		{"an invalid type", rtm.Channel{Name: "room"}, nil, rtm.ErrInvalidChannelType},
		{"a name that is not UTF-8", rtm.Message("\xff"), nil, rtm.ErrInvalidParameter},
		{"a rejected token", room, func(n *network) { n.inject(failWithCode(codes.Unauthenticated)) }, rtm.ErrInvalidToken},
		{"no server until ctx ends", room, (*network).stop, context.DeadlineExceeded},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := setup(t)
				alice := n.login(t, "alice")
				if row.make != nil {
					row.make(n)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var errs []error
				for e, err := range alice.Events(ctx, row.channel) {
					if err == nil {
						t.Errorf("the event %+v", e)
					}
					errs = append(errs, err)
				}
				if len(errs) != 1 {
					t.Fatalf("the errors are %v, want one", errs)
				}
				checkIs(t, "the last error", errs[0], row.want)
			})
		})
	}
}

func TestUser_Lost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice, bob := n.login(t, "alice"), n.login(t, "bob")
		setLocks(t, alice, "a", "b", "c")
		for _, name := range []string{"a", "b", "c"} {
			acquire(t, alice, name)
		}
		revoke := func(name string) {
			if err := bob.RevokeLock(t.Context(), room, name, ""); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		names := func(lost func(func(*rtm.Lock) bool), most int) (names []string) {
			for l := range lost {
				if names = append(names, l.Name); len(names) == most {
					break
				}
			}
			return names
		}
		revoke("a")
		ctx, cancel := context.WithCancel(t.Context())
		early := alice.Lost(ctx)
		revoke("b")
		late := alice.Lost(ctx)
		revoke("c")
		if got := names(early, 2); !slices.Equal(got, []string{"b", "c"}) {
			t.Errorf("the first listener got %v", got)
		}
		if got := names(late, 1); !slices.Equal(got, []string{"c"}) {
			t.Errorf("the second listener got %v", got)
		}
		if alice.Close(); !slices.Equal(names(late, 2), []string{"c"}) {
			t.Error("after Close a listener must get the losses before it")
		}
		if cancel(); names(early, 1) != nil {
			t.Error("a listener got a loss after its ctx has ended")
		}
	})
}

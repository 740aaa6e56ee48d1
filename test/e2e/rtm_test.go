// Users of RTM channels, with two Mortises on one Redis.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/client/rtm"
	"github.com/mortise-lock/mortise/test/servers"
)

const (
	// rtmTTL is the TTL of the tests' locks.
	rtmTTL = 2 * time.Second
	// takeoverDelay is how much longer a lock may last if its owner and the owner's
	// Mortise are killed together: two fifths of the TTL, and a second for a busy
	// machine.
	takeoverDelay = 2*rtmTTL/5 + time.Second

	// ownerVariable, if it is set to a socket and a name, makes the test binary run
	// runOwner.
	ownerVariable = "MORTISE_E2E_OWNER"
)

var (
	team   = rtm.Message("team")
	report = "report"
)

// runOwner logs in, prints the locks that it holds, acquires the lock if it holds none,
// and never returns.
func runOwner(socket, name string) error {
	c, err := client.Dial("unix://" + socket)
	if err != nil {
		return err
	}
	u, err := rtm.Login(context.Background(), c, name)
	if err != nil {
		return err
	}
	for _, l := range u.Locks() {
		fmt.Println("still", l.Name, l.Rev)
	}
	if len(u.Locks()) == 0 {
		l, err := u.AcquireLock(context.Background(), team, report, true)
		if err != nil {
			return err
		}
		fmt.Println("acquired", l.Name, l.Rev)
	}
	select {}
}

// startOwner starts runOwner in a process, and returns it and the lockRev that it
// printed.
func startOwner(t *testing.T, m *mortise, name, verb string) (*process, uint64) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, name, self, []string{ownerVariable + "=" + m.socket() + " " + name})
	p.awaitLine(verb)
	rev, err := strconv.ParseUint(strings.Fields(p.line(verb))[2], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return p, rev
}

// startPair starts two Mortises on one Redis.
func startPair(t *testing.T) (near, far *mortise, server *servers.Redis) {
	t.Helper()
	server = startRedis(t)
	path := newResources(t, redis("locks", server).with("rtmMinTTL", "1s").with("rtmDefaultTTL", rtmTTL.String())).path
	return startMortise(t, "--resources-path", path), startMortise(t, "--resources-path", path), server
}

// login logs a user in until the end of the test.
func login(t *testing.T, m *mortise, name string) *rtm.User {
	t.Helper()
	c, err := client.Dial("unix://" + m.socket())
	if err != nil {
		t.Fatal(err)
	}
	u, err := rtm.Login(t.Context(), c, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		u.Close()
		_ = c.Close()
	})
	return u
}

func setLock(t *testing.T, u *rtm.User) {
	t.Helper()
	if _, err := u.SetLock(t.Context(), team, report, 0); err != nil {
		t.Fatal(err)
	}
}

func acquire(t *testing.T, u *rtm.User) *rtm.Lock {
	t.Helper()
	l, err := u.AcquireLock(t.Context(), team, report, false)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// expectOwner fails the test unless the lock has this owner.
func expectOwner(t *testing.T, u *rtm.User, owner string) {
	t.Helper()
	if err := checkOwner(t.Context(), u, owner); err != nil {
		t.Error(err)
	}
}

func checkOwner(ctx context.Context, u *rtm.User, owner string) error {
	locks, err := u.GetLock(ctx, team)
	if err != nil || len(locks) != 1 || locks[0].Owner != owner {
		return fmt.Errorf("got the locks %v, %w, want one of %q", locks, err, owner)
	}
	return nil
}

// acquireInBackground starts AcquireLock, and returns when the user is the nth in the
// queue.
func acquireInBackground(t *testing.T, m *mortise, u *rtm.User, nth int) <-chan acquireResult {
	t.Helper()
	answers := make(chan acquireResult, 1)
	go func() {
		l, err := u.AcquireLock(t.Context(), team, report, true)
		answers <- acquireResult{l, err, time.Now()}
	}()
	c, err := client.Dial("unix://" + m.socket())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, u.Name()+" waits", func() error {
		locks, err := c.List(t.Context(), "rtm||")
		if err == nil && (len(locks) != 1 || locks[0].Waiters < nth) {
			err = fmt.Errorf("got the locks %+v", locks)
		}
		return err
	})
	return answers
}

// acquireResult is the result of AcquireLock, and the time of its return.
type acquireResult struct {
	*rtm.Lock
	error
	at time.Time
}

// subscribe returns a channel's events from now on until the end of the test.
func subscribe(t *testing.T, u *rtm.User, channel rtm.Channel) <-chan rtm.Event {
	t.Helper()
	events := make(chan rtm.Event, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		for e, err := range u.Events(ctx, channel) {
			if err != nil {
				return
			}
			events <- e
		}
	})
	t.Cleanup(func() {
		cancel()
		watching.Wait()
	})
	if e := nextEvent(t, events); e.Type != rtm.EventSnapshot {
		t.Fatalf("first event: got %v, want a snapshot", e)
	}
	return events
}

// nextEvent returns the next event.
func nextEvent(t *testing.T, events <-chan rtm.Event) rtm.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(waitTimeout):
		t.Fatal("got no event")
		return rtm.Event{}
	}
}

// expectEvent fails the test unless the next event has this type and owner.
func expectEvent(t *testing.T, events <-chan rtm.Event, what rtm.EventType, owner string) {
	t.Helper()
	if e := nextEvent(t, events); e.Type != what || e.Lock.Owner != owner {
		t.Errorf("got the event %v, want %v of %q", e, what, owner)
	}
}

func TestRTM_QueueOrder(t *testing.T) {
	t.Parallel()
	near, far, _ := startPair(t)
	ann := login(t, near, "ann")
	events := subscribe(t, ann, team)
	setLock(t, ann)
	expectEvent(t, events, rtm.EventSet, "")
	held := acquire(t, ann)

	names := []string{"bob", "cleo", "dan", "eve"}
	var users []*rtm.User
	var results []<-chan acquireResult
	for i, name := range names {
		m := []*mortise{far, near}[i%2]
		users = append(users, login(t, m, name))
		results = append(results, acquireInBackground(t, m, users[i], i+1))
	}
	if err := held.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := held.Rev
	for i, result := range results {
		got := <-result
		if got.error != nil || got.Rev <= last {
			t.Fatalf("%s got %v, %v after %d", names[i], got.Lock, got.error, last)
		}
		last = got.Rev
		for j, later := range results[i+1:] {
			if len(later) > 0 {
				t.Errorf("%s was granted the lock before %s", names[i+1+j], names[i])
			}
		}
		if err := users[i].ReleaseLock(t.Context(), team, report); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range slices.Insert(names, 0, "ann") {
		expectEvent(t, events, rtm.EventAcquired, name)
		expectEvent(t, events, rtm.EventReleased, name)
	}
}

func TestRTM_OwnerKilled(t *testing.T) {
	for _, row := range []struct {
		name    string
		mortise bool // is killed together with the owner
		most    time.Duration
	}{
		{"without its Mortise", false, rtmTTL + time.Second},
		{"together with its Mortise", true, rtmTTL + takeoverDelay},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			near, far, _ := startPair(t)
			bob := login(t, far, "bob")
			events := subscribe(t, bob, team)
			setLock(t, bob)
			expectEvent(t, events, rtm.EventSet, "")
			ann, rev := startOwner(t, near, "ann", "acquired")
			expectEvent(t, events, rtm.EventAcquired, "ann")
			result := acquireInBackground(t, far, bob, 1)

			time.Sleep(2 * rtmTTL) // online for longer than the TTL
			expectOwner(t, bob, "ann")
			killed := time.Now()
			if row.mortise {
				near.kill()
			}
			ann.kill()
			got := <-result
			if after := got.at.Sub(killed); got.error != nil || got.Rev <= rev || after < rtmTTL || after > row.most {
				t.Errorf("bob got %v, %v after %v, want a larger rev than %d, from %v to %v", got.Lock, got.error, after, rev, rtmTTL, row.most)
			}
			expectEvent(t, events, rtm.EventReleased, "ann")
			expectEvent(t, events, rtm.EventAcquired, "bob")
		})
	}
}

func TestRTM_OwnerReconnects(t *testing.T) {
	t.Parallel()
	near, far, _ := startPair(t)
	bob := login(t, far, "bob")
	events := subscribe(t, bob, team)
	setLock(t, bob)
	expectEvent(t, events, rtm.EventSet, "")
	ann, rev := startOwner(t, near, "ann", "acquired")
	expectEvent(t, events, rtm.EventAcquired, "ann")
	// The owner may reconnect through another Mortise.
	for _, m := range []*mortise{near, far} {
		ann.kill()
		time.Sleep(rtmTTL / 4)
		var newRev uint64
		if ann, newRev = startOwner(t, m, "ann", "still"); newRev != rev {
			t.Errorf("got the lockRev %d, want %d", newRev, rev)
		}
	}
	time.Sleep(2 * rtmTTL)
	expectOwner(t, bob, "ann")
	if len(events) > 0 {
		t.Errorf("unexpected event %v", <-events)
	}
}

func TestRTM_ServerKilled(t *testing.T) {
	t.Parallel()
	near, far, _ := startPair(t)
	bob, ann := login(t, far, "bob"), login(t, near, "ann")
	events := subscribe(t, bob, team)
	setLock(t, bob)
	expectEvent(t, events, rtm.EventSet, "")
	l := acquire(t, ann)
	expectEvent(t, events, rtm.EventAcquired, "ann")
	near.crash(rtmTTL / 4)
	near.start(t)
	time.Sleep(2 * rtmTTL)
	if err := l.Err(); err != nil {
		t.Errorf("ann: got the error %v", err)
	}
	expectOwner(t, bob, "ann")
	if len(events) > 0 {
		t.Errorf("unexpected event %v", <-events)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
	expectEvent(t, events, rtm.EventReleased, "ann")
}

func TestRTM_RemoveHeldLock(t *testing.T) {
	t.Parallel()
	near, far, _ := startPair(t)
	ann, bob, eve := login(t, near, "ann"), login(t, far, "bob"), login(t, far, "eve")
	events := subscribe(t, eve, team)
	setLock(t, eve)
	expectEvent(t, events, rtm.EventSet, "")
	held := acquire(t, ann)
	result := acquireInBackground(t, far, bob, 1)
	if err := eve.RemoveLock(t.Context(), team, report); err != nil {
		t.Fatal(err)
	}
	setLock(t, eve)
	if got := <-result; !errors.Is(got.error, rtm.ErrLockNotExist) {
		t.Errorf("bob got %v, %v", got.Lock, got.error)
	}
	<-held.Done()
	if err := held.Err(); !errors.Is(err, rtm.ErrRemoved) {
		t.Errorf("ann: got the error %v", err)
	}
	expectOwner(t, eve, "")
	if l := acquire(t, bob); l.Rev <= held.Rev {
		t.Errorf("got lockRev %d after %d, want a larger one", l.Rev, held.Rev)
	}
	expectEvent(t, events, rtm.EventAcquired, "ann")
	expectEvent(t, events, rtm.EventRemoved, "ann")
	expectEvent(t, events, rtm.EventSet, "")
	expectEvent(t, events, rtm.EventAcquired, "bob")
}

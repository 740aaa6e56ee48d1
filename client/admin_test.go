package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/client"
)

func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		a := lock(t, c, "disks/a", client.Metadata(map[string]string{"for": "x"}))
		b := lock(t, c, "disks/b")
		other := lock(t, c, "gate")
		go func() { _, _ = c.Lock(t.Context(), "disks/b", client.Wait(time.Minute)) }()
		synctest.Wait()
		time.Sleep(time.Second)
		locks, err := c.List(t.Context(), "disks/")
		if err != nil || len(locks) != 2 {
			t.Fatalf("List returned %v, %v", locks, err)
		}
		got := locks[0]
		if got.Key != "disks/a" || got.Owner != n.ownerOf("disks/a") || got.TTL != ttl || got.Remaining != ttl-time.Second ||
			got.Token != a.Token() || got.Waiters != 0 || got.Metadata["for"] != "x" {
			t.Errorf("the first lock is %+v", got)
		}
		if locks[1].Key != "disks/b" || locks[1].Waiters != 1 {
			t.Errorf("the second lock is %+v", locks[1])
		}
		for _, l := range []*client.Lease{a, b, other} {
			unlock(t, l)
		}
		time.Sleep(2 * time.Minute)
	})
}

func TestRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		l := lock(t, c, "disk")
		err := c.Revoke(t.Context(), "disk", "bob")
		if !errors.Is(err, client.ErrNotHeld) || err.Error() != `mortise: revoke "disk": lock is not held by this owner` {
			t.Errorf("Revoke from another owner returned %v, want ErrNotHeld", err)
		}
		if err := c.Revoke(t.Context(), "disk", n.ownerOf("disk")); err != nil {
			t.Error(err)
		}
		if err := c.Revoke(t.Context(), "disk", ""); !errors.Is(err, client.ErrNotHeld) {
			t.Errorf("Revoke of a free lock returned %v, want ErrNotHeld", err)
		}
		<-l.Done()
		n.lockAsOther("a1")
		n.lockAsOther("a2")
		n.lockAsOther("b")
		if got, err := c.RevokeAll(t.Context(), "a"); got != 2 || err != nil || n.ownerOf("b") == "" || n.ownerOf("a1") != "" {
			t.Errorf("RevokeAll returned %d, %v", got, err)
		}
	})
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		n.lockAsOther("disks/a")
		n.lockAsOther("disks/b")
		ctx, cancel := context.WithCancel(t.Context())
		events := make(chan client.Event)
		ended := make(chan error)
		go func() {
			ended <- c.Watch(ctx, "disks/", func(e client.Event) error { events <- e; return nil })
		}()
		expect := func(kind client.EventKind, missed bool, keys string) {
			t.Helper()
			e := <-events
			got := e.Lock.Key
			for _, l := range e.Locks {
				got += " " + l.Key
			}
			if e.Kind != kind || e.Missed != missed || got != keys {
				t.Errorf("got %v of %q, missed %v; want %v of %q, missed %v", e.Kind, got, e.Missed, kind, keys, missed)
			}
		}
		expect(client.EventSnapshot, false, " disks/a disks/b")
		n.revoke("disks/a")
		expect(client.EventRevoked, false, "disks/a")
		l := lock(t, c, "disks/c")
		expect(client.EventAcquired, false, "disks/c")
		unlock(t, l)
		expect(client.EventReleased, false, "disks/c")
		n.stop()
		n.revoke("disks/b")
		n.lockAsOther("disks/d")
		time.Sleep(time.Minute)
		n.start()
		expect(client.EventSnapshot, true, " disks/d")
		n.revoke("disks/d")
		expect(client.EventRevoked, false, "disks/d")
		lock(t, c, "disks/e", client.NoRenew())
		expect(client.EventAcquired, false, "disks/e")
		expect(client.EventExpired, false, "disks/e")
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) || strings.Count(err.Error(), "canceled") != 1 {
			t.Errorf("Watch returned %v, want the end of ctx", err)
		}
	})
}

func TestList_Declared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		n.declare("disks/a")
		n.declare("disks/b")
		l := lock(t, c, "disks/b")
		lock(t, c, "disks/c")
		locks, err := c.List(t.Context(), "disks/")
		if err != nil || len(locks) != 3 {
			t.Fatalf("List returned %v, %v", locks, err)
		}
		want := client.LockInfo{Key: "disks/a", DeclaredTTL: time.Hour}
		if !reflect.DeepEqual(locks[0], want) || locks[0].Held() {
			t.Errorf("the free lock is %+v, want %+v", locks[0], want)
		}
		if got := locks[1]; got.Token != l.Token() || got.TTL != ttl || got.DeclaredTTL != time.Hour || !got.Held() {
			t.Errorf("the held lock is %+v", got)
		}
		if got := locks[2]; got.DeclaredTTL != 0 || !got.Held() {
			t.Errorf("the lock that is not declared is %+v", got)
		}
		if got, err := c.RevokeAll(t.Context(), "disks/"); got != 2 || err != nil {
			t.Errorf("RevokeAll returned %d, %v", got, err)
		}
		if locks, err := c.List(t.Context(), "disks/"); err != nil || len(locks) != 2 || locks[0].Held() || locks[1].Held() {
			t.Errorf("afterwards List returned %+v, %v", locks, err)
		}
	})
}

func TestWatch_Declared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		n.declare("disks/a")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var events []client.Event
		ended := make(chan error, 1)
		go func() {
			ended <- c.Watch(ctx, "disks/", func(e client.Event) error { events = append(events, e); return nil })
		}()
		synctest.Wait()
		n.declare("disks/b")
		l := lock(t, c, "disks/b", client.NoRenew())
		n.withdraw("disks/b")
		n.withdraw("disks/a")
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		var lines []string
		for _, e := range events {
			locks := append(e.Locks, e.Lock)
			lines = append(lines, fmt.Sprintf("%v %s %v %v", e.Kind, locks[0].Key, locks[0].Token == l.Token(), locks[0].DeclaredTTL))
		}
		want := "[SNAPSHOT disks/a false 1h0m0s DECLARED disks/b false 1h0m0s ACQUIRED disks/b true 0s " +
			"WITHDRAWN disks/b true 1h0m0s WITHDRAWN disks/a false 1h0m0s]"
		if got := fmt.Sprint(lines); got != want {
			t.Errorf("got\n%s, want\n%s", got, want)
		}
	})
}

func TestWatch_HandlerError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := setup(t)
		if err := c.Watch(t.Context(), "", func(client.Event) error { return io.EOF }); !errors.Is(err, io.EOF) {
			t.Errorf("Watch returned %v, want the handler's error", err)
		}
	})
}

func TestEventKind_String(t *testing.T) {
	for kind, want := range map[client.EventKind]string{
		client.EventSnapshot: "SNAPSHOT", client.EventRevoked: "REVOKED", client.EventDeclared: "DECLARED", client.EventWithdrawn: "WITHDRAWN",
		0: "EventKind(0)", 9: "EventKind(9)",
	} {
		if got := kind.String(); got != want {
			t.Errorf("%d is called %s, want %s", int(kind), got, want)
		}
	}
}

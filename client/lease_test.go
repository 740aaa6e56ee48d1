package client_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/client"
)

const ttl = 30 * time.Second

func TestALeaseRenewsItselfAtAThirdOfItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := open(t)
		start := time.Now()
		l := lock(t, c, "door")
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
		time.Sleep(time.Hour)
		synctest.Wait()
		if got, want := n.count("Renew"), 361; got != want {
			t.Errorf("%d renewals in an hour and a third of a TTL, want %d", got, want)
		}
		unlock(t, l)
	})
}

func TestNoCallFollowsAnUnlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := open(t)
		l := lock(t, c, "door")
		time.Sleep(time.Minute)
		unlock(t, l)
		calls := n.count("")
		time.Sleep(24 * time.Hour)
		if err := l.Unlock(t.Context()); !errors.Is(err, client.ErrNotHeld) || errors.Is(err, client.ErrLost) {
			t.Errorf("a second Unlock returned %v, want ErrNotHeld", err)
		}
		if err := l.Renew(t.Context()); !errors.Is(err, client.ErrNotHeld) {
			t.Errorf("Renew after Unlock returned %v, want ErrNotHeld", err)
		}
		if got := n.count("") - calls; got != 0 {
			t.Errorf("%d calls after Unlock", got)
		}
		if cause := context.Cause(l.Context()); !errors.Is(cause, context.Canceled) || errors.Is(cause, client.ErrLost) {
			t.Errorf("Context ended because of %v, want a plain end", cause)
		}
	})
}

func TestALostLeaseIsToldAndLeftAlone(t *testing.T) {
	for _, row := range []struct {
		says string
		lose func(n *network, l *client.Lease)
		in   time.Duration // at most, until it is told
		want error         // besides ErrLost
	}{
		{"revoked", func(n *network, l *client.Lease) { n.revoke(l.Key()) }, ttl / 3, nil},
		{"given to another", func(n *network, l *client.Lease) { n.revoke(l.Key()); n.steal(l.Key()) }, ttl / 3, nil},
		{"unreachable until it expires", func(n *network, _ *client.Lease) { n.stop() }, ttl, client.ErrUnavailable},
		{"no answers until it expires", func(n *network, _ *client.Lease) { n.with(silence) }, ttl, client.ErrUnavailable},
		{"late answers", func(n *network, _ *client.Lease) { n.with(tooLate) }, ttl, client.ErrUnavailable},
		{"only refusals until it expires", func(n *network, _ *client.Lease) { n.with(refuse(codes.Internal)) }, ttl, nil},
		{"the machine slept", func(n *network, l *client.Lease) { l.Sleep(time.Hour) }, time.Second, nil},
	} {
		t.Run(row.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := begin()
				c := n.client()
				l := lock(t, c, "door")
				row.lose(n, l)
				start := time.Now()
				<-l.Context().Done()
				if took := time.Since(start); took > row.in {
					t.Errorf("it was told after %v, want at most %v", took, row.in)
				}
				cause := context.Cause(l.Context())
				if !errors.Is(cause, client.ErrLost) || errors.Is(cause, client.ErrNotHeld) || row.want != nil && !errors.Is(cause, row.want) {
					t.Errorf("the cause is %v, want ErrLost, %v", cause, row.want)
				}
				<-l.Done()
				n.with(nil)
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
				time.Sleep(24 * time.Hour)
				if got := n.count("") - calls; got != 0 {
					t.Errorf("%d calls were made for a lost lock", got)
				}
				c.Close()
				n.stop()
			})
		})
	}
}

func TestALeaseEndsNoLaterThanTheStoreLetsSomebodyIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := open(t)
		n.with(func(ctx context.Context, method string, call func() (any, error)) (any, error) {
			time.Sleep(time.Second) // the way there
			return call()
		})
		l := lock(t, c, "door")
		n.with(silence)
		other := n.client()
		defer other.Close()
		<-l.Context().Done()
		if n.holds("door") == "" {
			t.Error("the lock expired before Context ended")
		}
		n.with(nil)
		second := lock(t, other, "door")
		if second.Token() <= l.Token() {
			t.Errorf("the next token is %d, after %d", second.Token(), l.Token())
		}
		unlock(t, second)
	})
}

func TestRenewalIsRepeatedUntilTheOldDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := open(t)
		l := lock(t, c, "door")
		n.stop()
		time.Sleep(ttl - time.Second)
		n.start()
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if err := l.Err(); err != nil || l.Context().Err() != nil {
			t.Fatalf("the lease ended though Mortise was back in time: %v", err)
		}
		if left := time.Until(l.Expires()); left < ttl-time.Second {
			t.Errorf("%v are left, want the TTL again", left)
		}
		unlock(t, l)
	})
}

func TestARenewalWithoutAnAnswerLeavesTimeForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := open(t)
		l := lock(t, c, "door")
		first := true
		n.with(func(ctx context.Context, method string, call func() (any, error)) (any, error) {
			if first {
				first = false
				return silence(ctx, method, call)
			}
			return call()
		})
		time.Sleep(time.Minute)
		if err := l.Err(); err != nil {
			t.Errorf("one lost message cost the lease: %v", err)
		}
		unlock(t, l)
	})
}

func TestALeaseWithoutRenewalEndsAtExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := open(t)
		l := lock(t, c, "door", client.NoRenew(), client.TTL(time.Minute))
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
			t.Errorf("%d renewals, want the one that was asked for", got)
		}
	})
}

func TestUnlockWorksAfterTheEndOfTheCtx(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := open(t)
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key("who"), "ann"))
		l, err := c.Lock(ctx, "door")
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Context().Value(key("who")); got != "ann" {
			t.Errorf("Context has lost its values: %v", got)
		}
		cancel()
		<-l.Context().Done()
		time.Sleep(time.Hour)
		select {
		case <-l.Done():
			t.Error("the lease ended with the ctx")
		default:
		}
		if n.holds("door") == "" {
			t.Error("the lock ended before Unlock")
		}
		if err := l.Unlock(ctx); err != nil {
			t.Error(err)
		}
		if n.holds("door") != "" {
			t.Error("the lock is still held")
		}
	})
}

type key string

func TestUnlockTellsWhatBecameOfTheLock(t *testing.T) {
	for _, row := range []struct {
		says   string
		before func(n *network, l *client.Lease)
		want   error
	}{
		{"held until now", func(*network, *client.Lease) {}, nil},
		{"revoked meanwhile", func(n *network, l *client.Lease) { n.revoke(l.Key()) }, client.ErrLost},
		{"another has it", func(n *network, l *client.Lease) { n.revoke(l.Key()); n.steal(l.Key()) }, client.ErrLost},
		{"Mortise restarts and remembers", func(n *network, _ *client.Lease) { n.stop(); time.AfterFunc(time.Second, n.start) }, nil},
		{"Mortise restarts and forgets", func(n *network, _ *client.Lease) { n.stop(); n.forget(); n.start() }, client.ErrLost},
		{"the answer is lost", func(n *network, _ *client.Lease) { n.with(lose("Unlock")) }, client.ErrLost},
		{"Mortise is away", func(n *network, _ *client.Lease) { n.stop(); time.AfterFunc(time.Hour, n.start) }, client.ErrUnavailable},
		{"Mortise says nothing", func(n *network, _ *client.Lease) { n.with(silence) }, client.ErrUnavailable},
	} {
		t.Run(row.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := open(t)
				l := lock(t, c, "door")
				row.before(n, l)
				start := time.Now()
				if err := l.Unlock(t.Context()); !errors.Is(err, row.want) {
					t.Errorf("Unlock returned %v, want %v", err, row.want)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("Unlock took %v", took)
				}
				time.Sleep(time.Hour)
			})
		})
	}
}

func TestAnUnlockWithoutAnAnswerCanBeRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := open(t)
		l := lock(t, c, "door")
		n.with(silence)
		if err := l.Unlock(t.Context()); !errors.Is(err, client.ErrUnavailable) {
			t.Errorf("Unlock returned %v, want ErrUnavailable", err)
		}
		n.with(nil)
		unlock(t, l)
		if n.holds("door") != "" {
			t.Error("the lock is still held")
		}
	})
}

func TestRenewGivesTheTimeAgainAndTellsTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := open(t)
		l := lock(t, c, "door")
		time.Sleep(time.Second)
		if err := l.Renew(t.Context()); err != nil || time.Until(l.Expires()) != ttl {
			t.Errorf("Renew returned %v, %v are left", err, time.Until(l.Expires()))
		}
		n.with(refuse(codes.Unavailable))
		if err := l.Renew(t.Context()); !errors.Is(err, client.ErrUnavailable) || l.Err() != nil {
			t.Errorf("Renew returned %v, the lease's error is %v", err, l.Err())
		}
		n.with(silence)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Renew(ctx); !errors.Is(err, context.DeadlineExceeded) || l.Err() != nil {
			t.Errorf("Renew returned %v, the lease's error is %v", err, l.Err())
		}
		go func() { time.Sleep(time.Second); n.with(nil); _ = l.Unlock(t.Context()) }()
		if err := l.Renew(t.Context()); !errors.Is(err, client.ErrNotHeld) {
			t.Errorf("Renew during Unlock returned %v, want ErrNotHeld", err)
		}
	})
}

func TestSeveralLocksAreOneLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := open(t)
		l, err := c.LockAll(t.Context(), []string{"b", "a", "c", "a"})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := l.Keys(), []string{"a", "b", "c"}; !slices.Equal(got, want) || l.Key() != "a" {
			t.Errorf("the keys are %q, the first %q, want %q", got, l.Key(), want)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got, want := n.count("Renew"), 3*360; got != want {
			t.Errorf("%d renewals in an hour, want %d", got, want)
		}
		n.revoke("b")
		<-l.Done()
		synctest.Wait()
		if a, b, c := n.holds("a"), n.holds("b"), n.holds("c"); a+b+c != "" {
			t.Errorf("one is lost, and still held are %q %q %q", a, b, c)
		}
		if got := n.count("Unlock"); got != 2 {
			t.Errorf("%d locks were given back, want the two survivors", got)
		}
		if err := l.Unlock(t.Context()); !errors.Is(err, client.ErrLost) {
			t.Errorf("Unlock returned %v, want ErrLost", err)
		}
	})
}

func TestUnlockGivesEveryKeyBackThoughOneIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := open(t)
		l, err := c.LockAll(t.Context(), []string{"a", "b"})
		if err != nil {
			t.Fatal(err)
		}
		n.revoke("a")
		if err := l.Unlock(t.Context()); !errors.Is(err, client.ErrLost) {
			t.Errorf("Unlock returned %v, want ErrLost", err)
		}
		if n.holds("b") != "" {
			t.Error("the survivor is still held")
		}
	})
}

func TestCloseLosesLeasesAndFreesNoLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := begin()
		defer n.stop()
		c := n.client()
		l := lock(t, c, "door")
		waiting := make(chan error)
		go func() { _, err := c.Lock(t.Context(), "door"); waiting <- err }()
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if cause := context.Cause(l.Context()); !errors.Is(cause, client.ErrLost) || !errors.Is(cause, client.ErrClosed) {
			t.Errorf("the cause is %v, want ErrLost and ErrClosed", cause)
		}
		if n.holds("door") == "" {
			t.Error("the lock was freed under its work")
		}
		if err := <-waiting; !errors.Is(err, client.ErrClosed) {
			t.Errorf("Lock returned %v, want ErrClosed", err)
		}
		if _, err := c.TryLock(t.Context(), "other"); !errors.Is(err, client.ErrClosed) {
			t.Errorf("TryLock returned %v, want ErrClosed", err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("a second Close returned %v", err)
		}
	})
}

// lock takes the lock or ends the test.
func lock(t *testing.T, c *client.Client, resource string, opts ...client.Option) *client.Lease {
	t.Helper()
	l, err := c.Lock(t.Context(), resource, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func unlock(t *testing.T, l *client.Lease) {
	t.Helper()
	if err := l.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

// silence lets calls arrive and never answers.
func silence(ctx context.Context, _ string, _ func() (any, error)) (any, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// tooLate does what it is told, and answers when the lease that it is about has ended.
func tooLate(_ context.Context, _ string, call func() (any, error)) (any, error) {
	resp, err := call()
	time.Sleep(ttl)
	return resp, err
}

// refuse answers with the code.
func refuse(code codes.Code) meddling {
	return func(context.Context, string, func() (any, error)) (any, error) {
		return nil, status.Error(code, "refused")
	}
}

// lose does what it is told, and loses the first answer to the method.
func lose(method string) meddling {
	lost := false
	return func(_ context.Context, m string, call func() (any, error)) (any, error) {
		resp, err := call()
		if m == method && !lost {
			lost = true
			return nil, status.Error(codes.Unavailable, "the connection broke")
		}
		return resp, err
	}
}

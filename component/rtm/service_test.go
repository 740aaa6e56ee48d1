package rtm

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/component/instances"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

func TestSubscribe_SlowSubscriber(t *testing.T) {
	withEnv(t, func(w *env) {
		w.setLock("l")
		h := w.subscribeTo(true)
		for range maxPending / 2 {
			w.acquire("ann", "l")
			w.release("ann", "l")
			synctest.Wait()
		}
		w.acquire("bob", "l") // one too many
		synctest.Wait()
		close(h.pace)
		h.check(t, "SNAPSHOT of 1", "SNAPSHOT of 1")
		if last := h.events[1].GetLocks()[0]; last.GetOwner() != "bob" {
			t.Errorf("snapshot = %v, want the owner bob", last)
		}
	})
}

func TestHubPool_IdleTimeout(t *testing.T) {
	withEnv(t, func(w *env) {
		h := w.subscribeTo(false)
		hub := w.hub()
		h.cancel()
		if err := <-h.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("stream = %v, want Canceled", err)
		}
		time.Sleep(idleTimeout - time.Second)
		h = w.subscribeTo(false)
		time.Sleep(idleTimeout)
		h.cancel()
		synctest.Wait()
		time.Sleep(idleTimeout - time.Second)
		if w.hub() != hub {
			t.Error("hub has ended before its idle timeout")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if w.hub() != nil {
			t.Error("hub runs after its idle timeout")
		}
		<-hub.ended
	})
}

func TestHubPool_UnknownComponent(t *testing.T) {
	withEnv(t, func(w *env) {
		err := w.session(w.Context(), &rtmpb.SessionRequest{User: "ann", Store: "none"}, nil)
		if !errors.Is(err, instances.ErrNotInitialized) || w.hub() != nil || len(w.hubs.open) > 0 {
			t.Errorf("session = %v, want ErrNotInitialized; %d hubs are open", err, len(w.hubs.open))
		}
	})
}

func TestSession_RenewsLocks(t *testing.T) {
	withEnv(t, func(w *env) {
		for _, name := range []string{"before", "meanwhile", "released"} {
			w.setLock(name)
		}
		w.acquire("ann", "before")
		ann := w.openSession("ann")
		w.acquire("ann", "meanwhile")
		w.acquire("ann", "released")
		w.release("ann", "released")
		time.Sleep(time.Hour)
		w.checkOwner("ann", "before")
		w.checkOwner("ann", "meanwhile")
		w.checkOwner("", "released")

		ann.cancel()
		synctest.Wait()
		time.Sleep(10*time.Second - time.Nanosecond)
		w.checkOwner("ann", "before")
		time.Sleep(time.Nanosecond)
		w.checkOwner("", "before")
		w.checkOwner("", "meanwhile")
		ann.check(t, "SNAPSHOT of 1", "ACQUIRED meanwhile ann", "ACQUIRED released ann", "RELEASED released ann")
	})
}

// If the process dies, renewals end. At least the TTL must remain at any time.
func TestSession_RemainingTTL(t *testing.T) {
	withEnv(t, func(w *env) {
		w.setLock("l")
		w.openSession("ann")
		w.acquire("ann", "l")
		for range 1000 {
			synctest.Wait()
			if left := w.remaining(); left < 10*time.Second || left > 15*time.Second {
				t.Fatalf("remaining time = %v, want 10s to 15s", left)
			}
			time.Sleep(37 * time.Millisecond)
		}
	})
}

// remaining returns the remaining lease of the only lock.
func (w *env) remaining() (left time.Duration) {
	w.Helper()
	err := w.set.Do(w.Context(), "locks", func(s stores.Store) error {
		locks, err := stores.List(w.Context(), s, "")
		if err == nil {
			left = locks[0].Remaining
		}
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return left
}

func TestSession_Reconnect(t *testing.T) {
	for _, row := range []struct {
		name    string
		offline time.Duration
		taken   bool // by bob
		owner   string
		session []string
		channel []string
	}{
		{"in time", 9 * time.Second, false, "ann", []string{"SNAPSHOT of 1"}, []string{"SNAPSHOT of 1"}},
		{"too late", 10*time.Second + time.Nanosecond, false, "",
			[]string{"SNAPSHOT of 0", "EXPIRED l ann"}, []string{"SNAPSHOT of 1", "RELEASED l ann"}},
		{"when another owner holds it", 11 * time.Second, true, "bob",
			[]string{"SNAPSHOT of 0", "EXPIRED l ann"}, []string{"SNAPSHOT of 1", "RELEASED l ann", "ACQUIRED l bob"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			withEnv(t, func(w *env) {
				w.setLock("l")
				rev := w.acquire("ann", "l")
				w.openSession("ann").cancel()
				others := w.subscribeTo(false)
				time.Sleep(row.offline)
				if row.taken {
					w.acquire("bob", "l")
				}
				ann := w.openSession("ann", &rtmpb.LockDetail{
					Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "l", LockRev: rev,
				})
				time.Sleep(time.Second)
				w.checkOwner(row.owner, "l")
				ann.check(t, row.session...)
				others.check(t, row.channel...)
			})
		})
	}
}

func TestSession_ClaimOfOlderGrant(t *testing.T) {
	withEnv(t, func(w *env) {
		w.setLock("l")
		old := w.acquire("ann", "l")
		w.release("ann", "l")
		w.acquire("ann", "l")
		ann := w.openSession("ann", &rtmpb.LockDetail{Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "l", LockRev: old})
		ann.check(t, "SNAPSHOT of 1", "EXPIRED l ann")
		w.checkOwner("ann", "l")
	})
}

func TestSession_ClaimWithoutRev(t *testing.T) {
	withEnv(t, func(w *env) {
		w.setLock("l")
		w.setLock("other")
		w.acquire("ann", "l")
		ann := w.openSession("ann", &rtmpb.LockDetail{Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "l"},
			&rtmpb.LockDetail{Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "other"})
		ann.check(t, "SNAPSHOT of 1", "EXPIRED other ann")
	})
}

func TestSession_Replaced(t *testing.T) {
	withEnv(t, func(w *env) {
		w.setLock("l")
		w.acquire("ann", "l")
		first := w.openSession("ann")
		second := w.openSession("ann")
		if err := <-first.ended; !errors.Is(err, errReplaced) {
			t.Errorf("first session = %v, want errReplaced", err)
		}
		time.Sleep(time.Hour)
		w.checkOwner("ann", "l")
		second.check(t, "SNAPSHOT of 1")
	})
}

func TestLogout(t *testing.T) {
	for _, row := range []struct {
		name    string
		online  bool
		release bool
		after   string // owner of the lock after the logout
	}{
		{"with release", true, true, ""},
		{"without release", true, false, "ann"},
		{"with release and no session", false, true, ""},
		{"without release and session", false, false, "ann"},
	} {
		t.Run(row.name, func(t *testing.T) {
			withEnv(t, func(w *env) {
				w.setLock("l")
				w.setLock("other")
				w.acquire("bob", "other")
				if row.online {
					ann := w.openSession("ann")
					defer func() {
						if err := <-ann.ended; err != nil {
							t.Errorf("session = %v, want nil", err)
						}
					}()
				}
				w.acquire("ann", "l")
				if _, err := w.Logout(w.Context(), &rtmpb.LogoutRequest{User: "ann", Release: row.release}); err != nil {
					t.Fatal(err)
				}
				w.checkOwner(row.after, "l")
				w.checkOwner("bob", "other")
				time.Sleep(10 * time.Second)
				w.checkOwner("", "l")
			})
		})
	}
}

func TestLogout_EndsWaiting(t *testing.T) {
	withEnv(t, func(w *env) {
		w.setLock("l")
		w.acquire("bob", "l")
		ended := make(chan error, 1)
		go func() {
			_, err := w.AcquireLock(w.Context(), &rtmpb.AcquireLockRequest{
				User: "ann", Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "l", Retry: true,
			})
			ended <- err
		}()
		synctest.Wait()
		if _, err := w.Logout(w.Context(), &rtmpb.LogoutRequest{User: "ann"}); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err.Error() != statusError("RTMAcquireOperation", errLoggedOut).Error() {
			t.Errorf("AcquireLock = %v, want errLoggedOut", err)
		}
		w.release("bob", "l")
		w.checkOwner("", "l")
		if len(w.waiting.calls) > 0 {
			t.Error("the ended call is still registered")
		}
	})
}

func TestKeepAlive(t *testing.T) {
	withEnv(t, func(w *env) {
		for _, name := range []string{"held", "lost", "other"} {
			w.setLock(name)
		}
		w.acquire("bob", "other")
		w.acquire("ann", "held")
		lost := w.acquire("ann", "lost")
		w.release("ann", "lost")
		for range 10 {
			time.Sleep(9 * time.Second)
			got, err := w.KeepAlive(w.Context(), &rtmpb.KeepAliveRequest{User: "ann", Held: []*rtmpb.LockDetail{
				{Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "lost", LockRev: lost},
			}})
			if err != nil || len(got.GetLocks()) != 1 || got.GetLocks()[0].GetLockName() != "held" ||
				len(got.GetExpired()) != 1 || got.GetExpired()[0].GetLockName() != "lost" {
				t.Fatalf("KeepAlive = %v, %v, want held as a lock and lost as expired", got, err)
			}
		}
		w.checkOwner("ann", "held")
		time.Sleep(10 * time.Second)
		w.checkOwner("", "held")
	})
}

func TestSession_ComponentCloses(t *testing.T) {
	withEnv(t, func(w *env) {
		w.setLock("l")
		w.acquire("ann", "l")
		ann, others := w.openSession("ann"), w.subscribeTo(false)
		w.set.EndWaiting()
		for _, h := range []*eventRecorder{ann, others} {
			if err := <-h.ended; !errors.Is(err, stores.ErrClosed) {
				t.Errorf("stream = %v, want ErrClosed", err)
			}
		}
		if left := w.remaining(); left != 10*time.Second {
			t.Errorf("remaining time of ann's lock = %v, want 10s", left)
		}
	})
}

// When the Watch has failed, the user may already have a session in another hub, which
// renews the locks. The end of the old session must not shorten their leases.
func TestSession_WatchFails(t *testing.T) {
	withEnv(t, func(w *env) {
		w.setLock("l")
		ann := w.openSession("ann")
		w.acquire("ann", "l")
		synctest.Wait()
		h := w.hub()
		h.mu.Lock()
		h.err = errors.New("storage is unreachable")
		h.mu.Unlock()
		ann.cancel()
		synctest.Wait()
		if left := w.remaining(); left != onlineLease(10*time.Second) {
			t.Errorf("remaining time of ann's lock = %v, want %v", left, onlineLease(10*time.Second))
		}
	})
}

func TestHub_Cleanup(t *testing.T) {
	withEnv(t, func(w *env) {
		eve := w.openSession("eve")
		ann, others := w.openSession("ann"), w.subscribeTo(false)
		w.setLock("l")
		w.acquire("ann", "l")
		w.release("ann", "l")
		w.acquire("ann", "l")
		_, err := w.RemoveLock(w.Context(), &rtmpb.RemoveLockRequest{
			User: "eve", Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "l",
		})
		if err != nil {
			t.Fatal(err)
		}
		ann.check(t, "SNAPSHOT of 0", "ACQUIRED l ann", "RELEASED l ann", "ACQUIRED l ann", "REMOVED l ann")
		ann.cancel()
		others.cancel()
		eve.cancel()
		synctest.Wait()
		h := w.hub()
		if n := len(h.locks) + len(h.channels) + len(h.held) + len(h.subscribers) + len(h.sessions) + len(h.unconfirmedGrants) + h.renewQueue.Len(); n > 0 {
			t.Errorf("%d entries remain: %+v", n, h)
		}
	})
}

// With a slow storage the Watch may report a grant much later.
func TestHub_UnconfirmedGrant(t *testing.T) {
	withEnv(t, func(w *env) {
		w.setLock("l")
		ann := w.openSession("ann")
		rev := w.acquire("ann", "l")
		synctest.Wait()
		h := w.hub()
		// As if the Watch had not reported the grant.
		h.apply(stores.Event{Kind: stores.EventSnapshot})
		h.addUnconfirmed(heldLock{lock{channel{rtmpb.ChannelType_MESSAGE, "c"}, "l"}, "ann", 10 * time.Second, rev})
		time.Sleep(time.Hour)
		w.checkOwner("ann", "l")
		if got := h.heldLocks("ann"); len(got) != 1 || got[0].rev != rev {
			t.Errorf("locks of ann = %v, want one with the rev %d", got, rev)
		}
		ann.cancel()
		synctest.Wait()
		if h.renewQueue.Len() > 0 {
			t.Error("the unconfirmed grant is renewed although ann is offline")
		}
		time.Sleep(10 * time.Second)
		w.checkOwner("", "l")
		w.openSession("ann").cancel() // the hub tries to renew the grant, and discards it
		synctest.Wait()
		if len(h.unconfirmedGrants) > 0 {
			t.Error("the unconfirmed grant remains after its renewal has failed")
		}
	})
}

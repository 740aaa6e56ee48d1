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
			t.Errorf("the snapshot tells %v", last)
		}
	})
}

func TestHubPool_IdleTimeout(t *testing.T) {
	withEnv(t, func(w *env) {
		h := w.subscribeTo(false)
		hub := w.hub()
		h.cancel()
		if err := <-h.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the stream ended by %v", err)
		}
		time.Sleep(idleTimeout - time.Second)
		h = w.subscribeTo(false)
		time.Sleep(idleTimeout)
		h.cancel()
		synctest.Wait()
		time.Sleep(idleTimeout - time.Second)
		if w.hub() != hub {
			t.Error("it has ended too soon")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if w.hub() != nil {
			t.Error("it goes on although nobody needs it")
		}
		<-hub.ended
	})
}

func TestHubPool_UnknownComponent(t *testing.T) {
	withEnv(t, func(w *env) {
		err := w.session(w.Context(), &rtmpb.SessionRequest{User: "ann", Store: "none"}, nil)
		if !errors.Is(err, instances.ErrNotInitialized) || w.hub() != nil || len(w.hubs.open) > 0 {
			t.Errorf("%v, and there are %d hubs", err, len(w.hubs.open))
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

// Should the process die, nobody renews any more; then at least the TTL is left.
func TestSession_RemainingTTL(t *testing.T) {
	withEnv(t, func(w *env) {
		w.setLock("l")
		w.openSession("ann")
		w.acquire("ann", "l")
		for range 1000 {
			synctest.Wait()
			if left := w.remaining(); left < 10*time.Second || left > 15*time.Second {
				t.Fatalf("%v are left", left)
			}
			time.Sleep(37 * time.Millisecond)
		}
	})
}

// left is how long the only lock lasts if nobody renews it.
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
		away    time.Duration
		taken   bool
		owner   string
		heard   []string
		channel []string
	}{
		{"in time", 9 * time.Second, false, "ann", []string{"SNAPSHOT of 1"}, []string{"SNAPSHOT of 1"}},
		{"too late", 10*time.Second + time.Nanosecond, false, "",
			[]string{"SNAPSHOT of 0", "EXPIRED l ann"}, []string{"SNAPSHOT of 1", "RELEASED l ann"}},
		{"when it is another's", 11 * time.Second, true, "bob",
			[]string{"SNAPSHOT of 0", "EXPIRED l ann"}, []string{"SNAPSHOT of 1", "RELEASED l ann", "ACQUIRED l bob"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			withEnv(t, func(w *env) {
				w.setLock("l")
				rev := w.acquire("ann", "l")
				w.openSession("ann").cancel()
				others := w.subscribeTo(false)
				time.Sleep(row.away)
				if row.taken {
					w.acquire("bob", "l")
				}
				ann := w.openSession("ann", &rtmpb.LockDetail{
					Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "l", LockRev: rev,
				})
				time.Sleep(time.Second)
				w.checkOwner(row.owner, "l")
				ann.check(t, row.heard...)
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
			t.Errorf("the first ended by %v", err)
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
		after   string // who holds the lock at once
	}{
		{"that releases", true, true, ""},
		{"that keeps", true, false, "ann"},
		{"that releases without a session", false, true, ""},
		{"that keeps without a session", false, false, "ann"},
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
							t.Errorf("the session ended by %v", err)
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
			t.Errorf("waiting ended by %v", err)
		}
		w.release("bob", "l")
		w.checkOwner("", "l")
		if len(w.waiting.calls) > 0 {
			t.Error("the call is remembered")
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
				t.Fatalf("%v, %v", got, err)
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
				t.Errorf("a stream ended by %v", err)
			}
		}
		if left := w.remaining(); left != 10*time.Second {
			t.Errorf("of ann's lock %v are left", left)
		}
	})
}

// Whoever comes back by another hub has them renewed there; who goes late here must not
// shorten that.
func TestSession_WatchFails(t *testing.T) {
	withEnv(t, func(w *env) {
		w.setLock("l")
		ann := w.openSession("ann")
		w.acquire("ann", "l")
		synctest.Wait()
		h := w.hub()
		h.mu.Lock()
		h.err = errors.New("the storage is away")
		h.mu.Unlock()
		ann.cancel()
		synctest.Wait()
		if left := w.remaining(); left != onlineLease(10*time.Second) {
			t.Errorf("of ann's lock %v are left", left)
		}
	})
}

func TestHub_Cleanup(t *testing.T) {
	withEnv(t, func(w *env) {
		keeping := w.openSession("eve")
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
		keeping.cancel()
		synctest.Wait()
		h := w.hub()
		if n := len(h.locks) + len(h.channels) + len(h.held) + len(h.subscribers) + len(h.sessions) + len(h.unconfirmedGrants) + h.renewQueue.Len(); n > 0 {
			t.Errorf("there are %d things left: %+v", n, h)
		}
	})
}

// On a storage that is far away the Watch may tell of a grant a good deal later.
func TestHub_UnconfirmedGrant(t *testing.T) {
	withEnv(t, func(w *env) {
		w.setLock("l")
		ann := w.openSession("ann")
		rev := w.acquire("ann", "l")
		synctest.Wait()
		h := w.hub()
		h.apply(stores.Event{Kind: stores.EventSnapshot}) // as if it had told nothing yet
		h.addUnconfirmed(heldLock{lock{channel{rtmpb.ChannelType_MESSAGE, "c"}, "l"}, "ann", 10 * time.Second, rev})
		time.Sleep(time.Hour)
		w.checkOwner("ann", "l")
		if got := h.heldLocks("ann"); len(got) != 1 || got[0].rev != rev {
			t.Errorf("ann's are %v", got)
		}
		ann.cancel()
		synctest.Wait()
		if h.renewQueue.Len() > 0 {
			t.Error("the note is renewed although ann is offline")
		}
		time.Sleep(10 * time.Second)
		w.checkOwner("", "l")
		w.openSession("ann").cancel() // who renews it, and finds that it is wrong
		synctest.Wait()
		if len(h.unconfirmedGrants) > 0 {
			t.Error("the note is still there")
		}
	})
}

package rtm

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/component/rtm/internal/rtmtest"
	"github.com/mortise-lock/mortise/component/rtm/presence"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

func TestService_UnknownComponent(t *testing.T) {
	withEnv(t, func(w *env) {
		err := w.session(w.Context(), &rtmpb.SessionRequest{User: "ann", Store: "none"}, nil)
		if !errors.Is(err, instances.ErrNotInitialized) {
			t.Errorf("session = %v, want ErrNotInitialized", err)
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

		ann.Cancel()
		synctest.Wait()
		time.Sleep(10*time.Second - time.Nanosecond)
		w.checkOwner("ann", "before")
		time.Sleep(time.Nanosecond)
		w.checkOwner("", "before")
		w.checkOwner("", "meanwhile")
		ann.Check(t, "SNAPSHOT of 1", "ACQUIRED meanwhile ann", "ACQUIRED released ann", "RELEASED released ann")
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
	err := w.Set.Do(w.Context(), "locks", func(s stores.Store) error {
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
				w.openSession("ann").Cancel()
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
				ann.Check(t, row.session...)
				others.Check(t, row.channel...)
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
		ann.Check(t, "SNAPSHOT of 1", "EXPIRED l ann")
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
		ann.Check(t, "SNAPSHOT of 1", "EXPIRED other ann")
	})
}

func TestSession_Replaced(t *testing.T) {
	withEnv(t, func(w *env) {
		w.setLock("l")
		w.acquire("ann", "l")
		first := w.openSession("ann")
		second := w.openSession("ann")
		if err := <-first.Ended; !errors.Is(err, presence.ErrReplaced) {
			t.Errorf("first session = %v, want errReplaced", err)
		}
		time.Sleep(time.Hour)
		w.checkOwner("ann", "l")
		second.Check(t, "SNAPSHOT of 1")
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
						if err := <-ann.Ended; err != nil {
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
		if err := <-ended; err.Error() != StatusError("RTMAcquireOperation", errLoggedOut).Error() {
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
		w.Set.EndWaiting()
		for _, h := range []*rtmtest.EventRecorder{ann, others} {
			if err := <-h.Ended; !errors.Is(err, stores.ErrClosed) {
				t.Errorf("stream = %v, want ErrClosed", err)
			}
		}
		if left := w.remaining(); left != 10*time.Second {
			t.Errorf("remaining time of ann's lock = %v, want 10s", left)
		}
	})
}

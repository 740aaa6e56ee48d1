package rtm

import (
	"testing"
	"testing/synctest"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

func TestService_StoreOfCaller(t *testing.T) {
	withEnv(t, func(w *env) {
		own := w.sidecar()
		own.Open("other", nil)
		for _, each := range []*env{w, own} {
			each.setLock("l")
		}
		ann := own.openSession("ann")
		own.acquire("ann", "l")
		time.Sleep(time.Minute)
		own.checkOwner("ann", "l")
		w.checkOwner("", "l")
		ann.Check(t, "SNAPSHOT of 0", "ACQUIRED l ann")
		ann.Cancel()
		synctest.Wait()
		time.Sleep(10 * time.Second)
		own.checkOwner("", "l")
	})
}

func TestService_SameUserInTwoStores(t *testing.T) {
	withEnv(t, func(w *env) {
		own := w.sidecar()
		own.Open("other", nil)
		waited := make(chan error, 1)
		for _, each := range []*env{w, own} {
			each.setLock("l")
			each.acquire("bob", "l")
		}
		go func() {
			_, err := own.AcquireLock(own.Context(), &rtmpb.AcquireLockRequest{
				User: "ann", Channel: "c", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "l", Retry: true,
			})
			waited <- err
		}()
		ann, namesake := own.openSession("ann"), w.openSession("ann")
		if _, err := w.Logout(w.Context(), &rtmpb.LogoutRequest{User: "ann", Release: true}); err != nil {
			t.Fatal(err)
		}
		if err := <-namesake.Ended; err != nil {
			t.Errorf("session of the other ann = %v after her logout", err)
		}
		own.release("bob", "l")
		if err := <-waited; err != nil {
			t.Errorf("AcquireLock of ann = %v after the logout of the other ann", err)
		}
		time.Sleep(time.Minute)
		own.checkOwner("ann", "l")
		ann.Check(t, "SNAPSHOT of 0", "ACQUIRED l ann")
	})
}

func TestService_AmbiguousComponent(t *testing.T) {
	withEmptyEnv(t, func(w *env) {
		first, second := w.sidecar(), w.sidecar()
		first.Open("memory", nil)
		w.setLock("l")
		w.acquire("ann", "l")
		ann := w.openSession("ann")
		second.Open("other", nil)
		time.Sleep(time.Minute)
		first.checkOwner("ann", "l")
		ann.Cancel()
		synctest.Wait()
		time.Sleep(10*time.Second - time.Nanosecond)
		first.checkOwner("ann", "l")
		time.Sleep(time.Nanosecond)
		first.checkOwner("", "l")
		ann.Check(t, "SNAPSHOT of 1")
	})
}

package rtm

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

func TestHubPool_StoreOfCaller(t *testing.T) {
	withEnv(t, func(w *env) {
		own := w.sidecar()
		own.open("other", "")
		for _, each := range []*env{w, own} {
			each.setLock("l")
		}
		ann := own.openSession("ann")
		own.acquire("ann", "l")
		time.Sleep(time.Minute)
		own.checkOwner("ann", "l")
		w.checkOwner("", "l")
		ann.check(t, "SNAPSHOT of 0", "ACQUIRED l ann")
		ann.cancel()
		synctest.Wait()
		time.Sleep(10 * time.Second)
		own.checkOwner("", "l")
	})
}

func TestHubPool_SameUserInTwoStores(t *testing.T) {
	withEnv(t, func(w *env) {
		own := w.sidecar()
		own.open("other", "")
		waited := make(chan error, 1)
		for _, each := range []*env{w, own} {
			each.setLock("l")
			each.acquire("bob", "l")
		}
		go func() {
			_, err := own.AcquireLock(own.Context(), &rtmpb.AcquireLockRequest{
				User: "ann", Channel: "c", ChannelType: ofMessages, LockName: "l", Retry: true,
			})
			waited <- err
		}()
		ann, namesake := own.openSession("ann"), w.openSession("ann")
		if _, err := w.Logout(w.Context(), &rtmpb.LogoutRequest{User: "ann", Release: true}); err != nil {
			t.Fatal(err)
		}
		if err := <-namesake.ended; err != nil {
			t.Errorf("session of the other ann = %v after her logout", err)
		}
		own.release("bob", "l")
		if err := <-waited; err != nil {
			t.Errorf("AcquireLock of ann = %v after the logout of the other ann", err)
		}
		time.Sleep(time.Minute)
		own.checkOwner("ann", "l")
		ann.check(t, "SNAPSHOT of 0", "ACQUIRED l ann")
	})
}

func TestHubPool_AmbiguousComponent(t *testing.T) {
	withEmptyEnv(t, func(w *env) {
		first, second := w.sidecar(), w.sidecar()
		first.open("memory", "")
		w.setLock("l")
		w.acquire("ann", "l")
		ann := w.openSession("ann")
		second.open("other", "")
		time.Sleep(time.Minute)
		first.checkOwner("ann", "l")
		ann.cancel()
		synctest.Wait()
		time.Sleep(10*time.Second - time.Nanosecond)
		first.checkOwner("ann", "l")
		time.Sleep(time.Nanosecond)
		first.checkOwner("", "l")
		ann.check(t, "SNAPSHOT of 1")
	})
}

// Hot reload opens the component with another connection, and then closes the first.
func TestHubPool_StoreReplaced(t *testing.T) {
	withEmptyEnv(t, func(w *env) {
		first, second := w.sidecar(), w.sidecar()
		first.open("memory", "")
		w.setLock("l")
		w.acquire("ann", "l")
		ann := w.openSession("ann")
		second.open("memory", "7") // the same storage
		if err := first.conn.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ann.ended; !errors.Is(err, stores.ErrClosed) {
			t.Errorf("session = %v, want ErrClosed", err)
		}
		time.Sleep(9 * time.Second)
		ann = w.openSession("ann")
		time.Sleep(time.Minute)
		w.checkOwner("ann", "l")
		ann.check(t, "SNAPSHOT of 1")
		if n := len(w.hubs.open); n != 1 {
			t.Errorf("%d hubs are open, want 1", n)
		}
	})
}

package rtm

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

func TestASessionLooksAfterTheStoreOfItsCaller(t *testing.T) {
	inWorld(t, func(w *world) {
		own := w.sidecar()
		own.open("other", "")
		for _, each := range []*world{w, own} {
			each.set10("l")
		}
		ann := own.online("ann")
		own.acquire("ann", "l")
		time.Sleep(time.Minute)
		own.isHeldBy("ann", "l")
		w.isHeldBy("", "l")
		ann.is(t, "SNAPSHOT of 0", "ACQUIRED l ann")
		ann.cancel()
		synctest.Wait()
		time.Sleep(10 * time.Second)
		own.isHeldBy("", "l")
	})
}

func TestUsersOfOneNameAndTwoStoresAreTwo(t *testing.T) {
	inWorld(t, func(w *world) {
		own := w.sidecar()
		own.open("other", "")
		waited := make(chan error, 1)
		for _, each := range []*world{w, own} {
			each.set10("l")
			each.acquire("bob", "l")
		}
		go func() {
			_, err := own.AcquireLock(own.Context(), &rtmpb.AcquireLockRequest{
				User: "ann", Channel: "c", ChannelType: ofMessages, LockName: "l", Retry: true,
			})
			waited <- err
		}()
		ann, namesake := own.online("ann"), w.online("ann")
		if _, err := w.Logout(w.Context(), &rtmpb.LogoutRequest{User: "ann", Release: true}); err != nil {
			t.Fatal(err)
		}
		if err := <-namesake.ended; err != nil {
			t.Errorf("the session of who has logged out ended by %v", err)
		}
		own.release("bob", "l")
		if err := <-waited; err != nil {
			t.Errorf("the other one's waiting ended by %v", err)
		}
		time.Sleep(time.Minute)
		own.isHeldBy("ann", "l")
		ann.is(t, "SNAPSHOT of 0", "ACQUIRED l ann")
	})
}

func TestUsersStayOnlineWhileTheNameMeansSeveralStores(t *testing.T) {
	inEmptyWorld(t, func(w *world) {
		first, second := w.sidecar(), w.sidecar()
		first.open("memory", "")
		w.set10("l")
		w.acquire("ann", "l")
		ann := w.online("ann")
		second.open("other", "")
		time.Sleep(time.Minute)
		first.isHeldBy("ann", "l")
		ann.cancel()
		synctest.Wait()
		time.Sleep(10*time.Second - time.Nanosecond)
		first.isHeldBy("ann", "l")
		time.Sleep(time.Nanosecond)
		first.isHeldBy("", "l")
		ann.is(t, "SNAPSHOT of 1")
	})
}

// Hot reload opens the component by another connection, and then ends the first.
func TestSessionsEndWithTheStoreThatIsReplacedAndBeginWithTheNewOne(t *testing.T) {
	inEmptyWorld(t, func(w *world) {
		first, second := w.sidecar(), w.sidecar()
		first.open("memory", "")
		w.set10("l")
		w.acquire("ann", "l")
		ann := w.online("ann")
		second.open("memory", "7") // the same storage
		if err := first.conn.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ann.ended; !errors.Is(err, stores.ErrClosed) {
			t.Errorf("the session ended by %v", err)
		}
		time.Sleep(9 * time.Second)
		ann = w.online("ann")
		time.Sleep(time.Minute)
		w.isHeldBy("ann", "l")
		ann.is(t, "SNAPSHOT of 1")
		if n := len(w.hubs.open); n != 1 {
			t.Errorf("there are %d hubs", n)
		}
	})
}

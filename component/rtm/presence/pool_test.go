package presence

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

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
		close(h.Pace)
		h.Check(t, "SNAPSHOT of 1", "SNAPSHOT of 1")
		if last := h.Events()[1].GetLocks()[0]; last.GetOwner() != "bob" {
			t.Errorf("snapshot = %v, want the owner bob", last)
		}
	})
}

func TestPool_IdleTimeout(t *testing.T) {
	withEnv(t, func(w *env) {
		h := w.subscribeTo(false)
		hub := w.hub()
		h.Cancel()
		if err := <-h.Ended; !errors.Is(err, context.Canceled) {
			t.Errorf("stream = %v, want Canceled", err)
		}
		time.Sleep(idleTimeout - time.Second)
		h = w.subscribeTo(false)
		time.Sleep(idleTimeout)
		h.Cancel()
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
		ann.Cancel()
		synctest.Wait()
		if left := w.info("l").Remaining; left != onlineTTL(10*time.Second) {
			t.Errorf("remaining time of ann's lock = %v, want %v", left, onlineTTL(10*time.Second))
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
		w.removeLock("l")
		ann.Check(t, "SNAPSHOT of 0", "ACQUIRED l ann", "RELEASED l ann", "ACQUIRED l ann", "REMOVED l ann")
		ann.Cancel()
		others.Cancel()
		eve.Cancel()
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
		h.addUnconfirmed(HeldLock{lockNamed("l"), "ann", 10 * time.Second, rev})
		time.Sleep(time.Hour)
		w.checkOwner("ann", "l")
		if got := h.heldLocks("ann"); len(got) != 1 || got[0].Rev != rev {
			t.Errorf("locks of ann = %v, want one with the rev %d", got, rev)
		}
		ann.Cancel()
		synctest.Wait()
		if h.renewQueue.Len() > 0 {
			t.Error("the unconfirmed grant is renewed although ann is offline")
		}
		time.Sleep(10 * time.Second)
		w.checkOwner("", "l")
		w.openSession("ann").Cancel() // the hub tries to renew the grant, and discards it
		synctest.Wait()
		if len(h.unconfirmedGrants) > 0 {
			t.Error("the unconfirmed grant remains after its renewal has failed")
		}
	})
}

// Hot reload opens the component with another connection, and then closes the first.
func TestPool_StoreReplaced(t *testing.T) {
	withEmptyEnv(t, func(w *env) {
		first, second := w.Sidecar(), w.Sidecar()
		first.Open("memory", nil)
		w.setLock("l")
		w.acquire("ann", "l")
		ann := w.openSession("ann")
		// Other metadata, but the same storage.
		second.Open("memory", map[string]string{"rtmLocksPerChannel": "7"})
		first.CloseConn()
		if err := <-ann.Ended; !errors.Is(err, stores.ErrClosed) {
			t.Errorf("session = %v, want ErrClosed", err)
		}
		time.Sleep(9 * time.Second)
		ann = w.openSession("ann")
		time.Sleep(time.Minute)
		w.checkOwner("ann", "l")
		ann.Check(t, "SNAPSHOT of 1")
		if n := len(w.Pool.open); n != 1 {
			t.Errorf("%d hubs are open, want 1", n)
		}
	})
}

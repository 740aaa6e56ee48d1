package rtm_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/mortise-lock/mortise/client/rtm"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// lockRow returns a lock of alice.
func lockRow(name string, rev uint64) *rtmpb.LockDetail {
	return &rtmpb.LockDetail{
		Channel: room.Name, ChannelType: rtmpb.ChannelType_MESSAGE, LockName: name, Owner: "alice", Ttl: 10, LockRev: rev,
	}
}

func TestLogin_RenewsEarlierLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n := setupScripted(t)
		s.snapshot = []*rtmpb.LockDetail{lockRow("pen", 7), lockRow("ink", 8), lockRow("nib", 9)}
		s.keepAlive = func(claims []*rtmpb.LockDetail) *rtmpb.KeepAliveResponse {
			if len(claims) > 0 {
				t.Errorf("the claims are %v, want none", claims)
			}
			time.Sleep(3 * time.Second)
			return &rtmpb.KeepAliveResponse{Locks: []*rtmpb.LockDetail{lockRow("ink", 10), lockRow("pen", 7)}}
		}
		go func() { s.events <- penEvent(rtmpb.LockEvent_REMOVED, 7) }()
		start := time.Now()
		alice := n.login(t, "alice")
		locks := alice.Locks()
		if len(locks) == 0 || locks[0].Name != "ink" || locks[0].Rev != 10 {
			t.Fatalf("alice has %v, want the ink with rev 10", locks)
		}
		synctest.Wait()
		if len(alice.Locks()) != 1 {
			t.Errorf("alice has %v, want only the ink", alice.Locks())
		}
		n.inject(hang)
		<-locks[0].Done()
		checkIs(t, "the ink ended with", locks[0].Err(), rtm.ErrExpired)
		if took := time.Since(start); took != ttl {
			t.Errorf("the ink ended %v after the KeepAlive, want %v", took, ttl)
		}
	})
}

func TestLogin_RenewFails(t *testing.T) {
	for _, row := range []struct {
		name  string
		fault fault
		want  []error
		in    time.Duration
	}{
		{"no connection", failWithCode(codes.Unavailable), []error{rtm.ErrNotConnected}, 0},
		{"no response", hang, []error{rtm.ErrOperationTimeout, context.DeadlineExceeded}, 10 * time.Second},
		{"a late response", respondAfterCancel, []error{rtm.ErrOperationTimeout, context.DeadlineExceeded}, 10 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := setup(t)
				alice := n.login(t, "alice")
				setLocks(t, alice, "pen")
				acquire(t, alice, "pen")
				alice.Close()
				time.Sleep(8 * time.Second)
				n.inject(onMethod("KeepAlive", row.fault))
				start := time.Now()
				alice, err := rtm.Login(t.Context(), n.dialClient(t), "alice")
				if err == nil {
					t.Fatalf("Login succeeded, and alice has %v", alice.Locks())
				}
				checkIs(t, "Login", err, row.want...)
				if took := time.Since(start); took != row.in {
					t.Errorf("it took %v, want %v", took, row.in)
				}
				n.inject(nil)
				time.Sleep(8 * time.Second)
				if got := n.login(t, "alice").Locks(); len(got) != 1 {
					t.Errorf("later alice has %v, want the pen", got)
				}
			})
		})
	}
}

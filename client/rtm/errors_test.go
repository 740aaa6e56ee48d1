package rtm_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/client/rtm"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// notAvailableError returns the error of an operation whose storage failed, with the code
// of a transient or a permanent failure.
func notAvailableError(code codes.Code, operation, reason string) error {
	detail := &rtmpb.Status{ErrorCode: int32(rtm.ErrLockNotAvailable), Operation: operation, Reason: reason}
	return must(status.New(code, reason).WithDetails(detail)).Err()
}

func TestAcquireLock_StorageRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice := n.login(t, "alice")
		setLocks(t, alice, "pen")
		n.inject(func(context.Context, string, func() (any, error)) (any, error) {
			return nil, notAvailableError(codes.FailedPrecondition, "RTMAcquireOperation", "NOPERM no set")
		})
		start := time.Now()
		_, err := alice.AcquireLock(t.Context(), room, "pen", true)
		if !errors.Is(err, rtm.ErrLockNotAvailable) || !strings.Contains(fmt.Sprint(err), "NOPERM no set") {
			t.Errorf("got %v, want -14009 with NOPERM", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAcquireLock_ErrorAtDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice := n.login(t, "alice")
		setLocks(t, alice, "pen")
		n.inject(func(_ context.Context, method string, _ func() (any, error)) (any, error) {
			return nil, notAvailableError(codes.Unavailable, "RTM"+method, method+": connection refused")
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := alice.AcquireLock(ctx, room, "pen", true)
		var failed *rtm.Error
		if !errors.As(err, &failed) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the end of ctx", err)
		}
		if failed.Operation != "RTMAcquireOperation" || !strings.Contains(failed.Reason, "AcquireLock: connection refused") {
			t.Errorf("got %v, want the failure of AcquireLock", err)
		}
	})
}

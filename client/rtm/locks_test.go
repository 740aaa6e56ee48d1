package rtm_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/client/rtm"
)

// operationCall is a call of an operation by alice; bob is another user.
type operationCall = func(ctx context.Context, alice, bob *rtm.User) error

func acquireCall(channel rtm.Channel, name string, retry bool) operationCall {
	return func(ctx context.Context, alice, _ *rtm.User) error {
		_, err := alice.AcquireLock(ctx, channel, name, retry)
		return err
	}
}

func setCall(channel rtm.Channel, name string, ttl time.Duration) operationCall {
	return func(ctx context.Context, alice, _ *rtm.User) error {
		_, err := alice.SetLock(ctx, channel, name, ttl)
		return err
	}
}

func removeCall(name string) operationCall {
	return func(ctx context.Context, alice, _ *rtm.User) error { return alice.RemoveLock(ctx, room, name) }
}

func TestError_Code(t *testing.T) {
	for _, row := range []struct {
		name string
		call operationCall
		want rtm.Code // or 0
		op   string
	}{
		{"SetLock of an existing lock", setCall(room, "free", 0), rtm.ErrLockAlreadyExist, "RTMSetLockOperation"},
		{"SetLock in another type of channel", setCall(rtm.Stream("room"), "free", 0), 0, ""},
		{"SetLock with a negative TTL", setCall(room, "x", -time.Second), rtm.ErrInvalidParameter, "RTMSetLockOperation"},
		{"SetLock with too large a TTL", setCall(room, "x", math.MaxInt64), rtm.ErrInvalidParameter, "RTMSetLockOperation"},
		{"SetLock without a name", setCall(room, "", 0), rtm.ErrInvalidLockName, "RTMSetLockOperation"},
		{"SetLock without a channel", setCall(rtm.Message(""), "x", 0), rtm.ErrInvalidChannelName, "RTMSetLockOperation"},
		{"SetLock without a type", setCall(rtm.Channel{Name: "room"}, "x", 0), rtm.ErrInvalidChannelType, "RTMSetLockOperation"},
		{"SetLock with a name that is not UTF-8", setCall(room, "\xff", 0), rtm.ErrInvalidParameter, "RTMSetLockOperation"},
		{"AcquireLock of a free lock", acquireCall(room, "free", false), 0, ""},
		{"AcquireLock of another user's lock", acquireCall(room, "bobs", false), rtm.ErrAcquireFailed, "RTMAcquireOperation"},
		{"AcquireLock of the user's own lock", acquireCall(room, "own", true), rtm.ErrPerforming, "RTMAcquireOperation"},
		{"AcquireLock of an unknown lock", acquireCall(room, "none", true), rtm.ErrLockNotExist, "RTMAcquireOperation"},
		{"AcquireLock with a name that is not UTF-8", acquireCall(room, "\xff", true), rtm.ErrInvalidParameter, "RTMAcquireOperation"},
		{"ReleaseLock of a free lock", func(ctx context.Context, alice, _ *rtm.User) error {
			return alice.ReleaseLock(ctx, room, "free")
		}, rtm.ErrLockNotAcquired, "RTMReleaseLockOperation"},
		{"ReleaseLock of another user's lock", func(ctx context.Context, alice, _ *rtm.User) error {
			return alice.ReleaseLock(ctx, room, "bobs")
		}, rtm.ErrLockNotAcquired, "RTMReleaseLockOperation"},
		{"ReleaseLock of an unknown lock", func(ctx context.Context, alice, _ *rtm.User) error {
			return alice.ReleaseLock(ctx, room, "none")
		}, rtm.ErrLockNotExist, "RTMReleaseLockOperation"},
		{"RevokeLock from the wrong owner", func(ctx context.Context, alice, _ *rtm.User) error {
			return alice.RevokeLock(ctx, room, "bobs", "carol")
		}, rtm.ErrLockNotAcquired, "RTMRevokeLockOperation"},
		{"RevokeLock from an invalid user", func(ctx context.Context, alice, _ *rtm.User) error {
			return alice.RevokeLock(ctx, room, "bobs", "/")
		}, rtm.ErrInvalidUserID, "RTMRevokeLockOperation"},
		{"RevokeLock from any user", func(ctx context.Context, alice, _ *rtm.User) error {
			return alice.RevokeLock(ctx, room, "bobs", "")
		}, 0, ""},
		{"GetLock without a type", func(ctx context.Context, alice, _ *rtm.User) error {
			_, err := alice.GetLock(ctx, rtm.Channel{Name: "room"})
			return err
		}, rtm.ErrInvalidChannelType, "RTMGetLockOperation"},
		{"RemoveLock of an unknown lock", removeCall("none"), rtm.ErrLockNotExist, "RTMRemoveLockOperation"},
		{"RemoveLock of another user's lock", removeCall("bobs"), 0, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := setup(t)
				alice, bob := n.login(t, "alice"), n.login(t, "bob")
				setLocks(t, alice, "free", "own", "bobs")
				acquire(t, alice, "own")
				acquire(t, bob, "bobs")
				checkCode(t, row.call(t.Context(), alice, bob), row.want, row.op)
				time.Sleep(time.Minute)
				synctest.Wait()
			})
		})
	}
}

// checkCode checks that the error has the code and the operation, or is nil if code is 0.
func checkCode(t *testing.T, err error, code rtm.Code, op string) {
	t.Helper()
	if code == 0 {
		if err != nil {
			t.Error(err)
		}
		return
	}
	checkIs(t, "the error", err, code)
	if e, ok := errors.AsType[*rtm.Error](err); !ok || e.Code != code || e.Operation != op || e.Reason == "" {
		t.Errorf("got %#v, want %v of %s", err, code, op)
	}
}

func TestError_TransportCode(t *testing.T) {
	for _, row := range []struct {
		name  string
		fault fault
		ctx   time.Duration // until its deadline
		want  []error
		in    time.Duration
	}{
		{"the token is rejected", failWithCode(codes.Unauthenticated), long, []error{rtm.ErrInvalidToken}, 0},
		{"there is no such service", failWithCode(codes.Unimplemented), long, []error{rtm.ErrServiceNotSupported}, 0},
		{"the connection breaks", failWithCode(codes.Unavailable), long, []error{rtm.ErrNotConnected}, 0},
		{"another error", failWithCode(codes.Internal), long, []error{rtm.ErrOperationFailed}, 0},
		{"no response", hang, long, []error{rtm.ErrOperationTimeout}, 10 * time.Second},
		{"no response before the deadline", hang, time.Second, []error{rtm.ErrOperationTimeout, context.DeadlineExceeded}, time.Second},
		{"the server's clock is ahead", func(ctx context.Context, _ string, _ func() (any, error)) (any, error) {
			deadline, _ := ctx.Deadline()
			time.Sleep(time.Until(deadline) - 10*time.Millisecond)
			return nil, status.Error(codes.DeadlineExceeded, "too late")
		}, time.Second, []error{rtm.ErrOperationTimeout, context.DeadlineExceeded}, time.Second - 10*time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := setup(t)
				alice := n.login(t, "alice")
				n.inject(row.fault)
				ctx, cancel := context.WithTimeout(t.Context(), row.ctx)
				defer cancel()
				start := time.Now()
				_, err := alice.SetLock(ctx, room, "pen", 0)
				checkIs(t, "SetLock", err, row.want...)
				if took := time.Since(start); took != row.in {
					t.Errorf("it took %v, want %v", took, row.in)
				}
				_, err = alice.SetLock(canceledContext(), room, "pen", 0)
				checkIs(t, "SetLock with a ctx that has ended", err, rtm.ErrOperationFailed, context.Canceled)
			})
		})
	}
}

// failWithCode returns a fault that fails every call with the code.
func failWithCode(code codes.Code) fault {
	return func(context.Context, string, func() (any, error)) (any, error) { return nil, status.Error(code, "no") }
}

// hang is a fault that never responds to a call.
func hang(ctx context.Context, _ string, _ func() (any, error)) (any, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestSetLock_TTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alice := setup(t).login(t, "alice")
		for i, row := range []struct{ ask, want time.Duration }{
			{0, 10 * time.Second}, {1, 10 * time.Second}, {10 * time.Second, 10 * time.Second}, {10*time.Second + 1, 11 * time.Second},
			{time.Minute, time.Minute}, {time.Hour, 5 * time.Minute}, {math.MaxInt32 * time.Second, 5 * time.Minute},
		} {
			name := strconv.Itoa(i)
			if got, err := alice.SetLock(t.Context(), room, name, row.ask); err != nil || got != row.want {
				t.Errorf("SetLock(%v) returned %v, %v, want %v", row.ask, got, err, row.want)
			}
			if l := acquire(t, alice, name); l.TTL != row.want {
				t.Errorf("acquired with %v, want %v", l.TTL, row.want)
			}
		}
	})
}

func TestGetLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := setup(t)
		alice, bob := n.login(t, "alice"), n.login(t, "bob")
		setLocks(t, alice, "b", "a")
		if _, err := alice.SetLock(t.Context(), rtm.Stream("room"), "c", 0); err != nil {
			t.Error(err)
		}
		l := acquire(t, bob, "b")
		got, err := alice.GetLock(t.Context(), room)
		want := []rtm.Detail{{Channel: room, Name: "a", TTL: ttl}, l.Detail}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("GetLock returned %+v, %v, want %+v", got, err, want)
		}
		if got, err := alice.GetLock(t.Context(), rtm.Message("nowhere")); err != nil || len(got) != 0 {
			t.Errorf("GetLock of a channel without locks returned %v, %v", got, err)
		}
	})
}

func TestCode_Error(t *testing.T) {
	proto, err := os.ReadFile("../../proto/mortise/rtm/v1/rtm.proto")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^//   (-\d+)  ([A-Z_]+) `).FindAllStringSubmatch(string(proto), -1)
	if len(rows) < 16 {
		t.Fatalf("the proto has %d codes", len(rows))
	}
	for _, row := range append(rows, []string{"", "-10005", "INVALID_TOKEN"}, []string{"", "-10025", "NOT_CONNECTED"}) {
		code, _ := strconv.Atoi(row[1])
		if got, want := rtm.Code(code).Error(), strings.Join(row[1:], " "); got != want {
			t.Errorf("%d is %q, want %q", code, got, want)
		}
	}
	if got := rtm.Code(-1).Error(); got != "-1" {
		t.Errorf("an unknown code is %q", got)
	}
}

func TestStringers(t *testing.T) {
	for _, row := range []struct {
		what fmt.Stringer
		want string
	}{
		{rtm.Message("a"), `MESSAGE "a"`},
		{rtm.Stream("b"), `STREAM "b"`},
		{rtm.ChannelType(7), "7"},
		{rtm.EventSnapshot, "SNAPSHOT"},
		{rtm.EventReleased, "RELEASED"},
	} {
		if got := row.what.String(); got != row.want {
			t.Errorf("it is %q, want %q", got, row.want)
		}
	}
}

package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mortise-lock/mortise/client"
)

// storeError returns the error that the server reports for a method whose storage is
// unreachable.
func storeError(method, cause string) error {
	info := &errdetails.ErrorInfo{Reason: "STORE_ERROR", Domain: "mortise"}
	return must(status.New(codes.Unavailable, "redis: "+strings.ToLower(method)+": "+cause).WithDetails(info)).Err()
}

// failStore returns a fault that fails every call with a storage error.
func failStore(cause string) fault {
	return func(_ context.Context, method string, _ func() (any, error)) (any, error) {
		return nil, storeError(method, cause)
	}
}

// TestLock_ErrorAtEndOfWait checks that a wait ends with the error of the request, not
// with the error of the Unlock that undoes a failed request.
func TestLock_ErrorAtEndOfWait(t *testing.T) {
	for _, row := range []struct {
		name string
		wait time.Duration // 0: ctx ends the wait
		take func(ctx context.Context, c *client.Client, opts ...client.Option) (*client.Lease, error)
		want error
		op   string
	}{
		{"at the end of ctx", 0, lockOne, context.DeadlineExceeded, "redis: lock:"},
		{"at the end of Wait", 10 * time.Second, lockOne, client.ErrUnavailable, "redis: lock:"},
		{"of several at the end of ctx", 0, lockSeveral, context.DeadlineExceeded, "redis: lockall:"},
		{"of several at the end of Wait", 10 * time.Second, lockSeveral, client.ErrUnavailable, "redis: lockall:"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := setup(t)
				n.inject(failStore("connection refused"))
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				var opts []client.Option
				if row.wait > 0 {
					opts = append(opts, client.Wait(row.wait))
				}
				_, err := row.take(ctx, c, opts...)
				if !errors.Is(err, row.want) || !errors.Is(err, client.ErrUnavailable) {
					t.Errorf("got %v, want %v with ErrUnavailable", err, row.want)
				}
				if text := err.Error(); !strings.Contains(text, row.op+" connection refused") || strings.Contains(text, "unlock") {
					t.Errorf("got %q, want the failure of %q", text, row.op)
				}
			})
		})
	}
}

func lockOne(ctx context.Context, c *client.Client, opts ...client.Option) (*client.Lease, error) {
	return c.Lock(ctx, "disk", opts...)
}

func lockSeveral(ctx context.Context, c *client.Client, opts ...client.Option) (*client.Lease, error) {
	return c.LockAll(ctx, []string{"disk", "gate"}, opts...)
}

// TestLock_StorageRefusal checks that a refusal of the storage ends the wait immediately
// and is reported.
func TestLock_StorageRefusal(t *testing.T) {
	refusal := func() error {
		info := &errdetails.ErrorInfo{Reason: "STORE_REFUSED", Domain: "mortise"}
		return must(status.New(codes.FailedPrecondition, "redis: NOPERM no set").WithDetails(info)).Err()
	}
	for _, row := range []struct {
		name    string
		refuses string // the method
	}{
		{"of the request", "Lock"},
		{"of the Unlock after a request without a response", "Unlock"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := setup(t)
				n.inject(func(_ context.Context, method string, _ func() (any, error)) (any, error) {
					if method == row.refuses {
						return nil, refusal()
					}
					return nil, storeError(method, "connection refused")
				})
				start := time.Now()
				_, err := client.Do(t.Context(), c, "disk", func(context.Context) (int, error) { return 0, nil })
				if !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "NOPERM no set") {
					t.Errorf("Do returned %v, want ErrRefused", err)
				}
				if took := time.Since(start); took > time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestLease_StorageError checks that a lease that expires because the storage fails
// reports the storage's error, whatever happened to renewals without a response.
func TestLease_StorageError(t *testing.T) {
	reset := status.Error(codes.Canceled, "stream terminated by RST_STREAM with error code: CANCEL")
	for _, row := range []struct {
		name   string
		before time.Duration // for which renewals fail with the storage's error
		then   fault
		want   string
	}{
		{"when every renewal fails", time.Hour, nil, "redis: renew: connection refused"},
		{"when later renewals have no response", 25 * time.Second, hang, "redis: renew: connection refused"},
		{"when later streams are reset", 25 * time.Second, func(context.Context, string, func() (any, error)) (any, error) {
			return nil, reset
		}, "redis: renew: connection refused"},
		{"when no renewal has a response", 0, hang, "Mortise did not respond in time"},
		{"when every stream is reset", 0, func(context.Context, string, func() (any, error)) (any, error) {
			return nil, reset
		}, "Mortise did not respond in time"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := setup(t)
				l := lock(t, c, "disk")
				start := time.Now()
				n.inject(func(ctx context.Context, method string, call func() (any, error)) (any, error) {
					if time.Since(start) < row.before {
						return nil, storeError(method, "connection refused")
					}
					return row.then(ctx, method, call)
				})
				<-l.Done()
				err := context.Cause(l.Context())
				if !errors.Is(err, client.ErrLost) || !errors.Is(err, client.ErrUnavailable) {
					t.Errorf("got %v, want ErrLost and ErrUnavailable", err)
				}
				if text := err.Error(); !strings.Contains(text, row.want) ||
					strings.Contains(text, "context deadline exceeded") || strings.Contains(text, "RST_STREAM") {
					t.Errorf("got %q, want %q", text, row.want)
				}
			})
		})
	}
}

// TestLease_KeyHoldsOtherData checks that the next renewal reports that another program
// has overwritten the lock.
func TestLease_KeyHoldsOtherData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		l := lock(t, c, "disk")
		start := time.Now()
		n.inject(failWithReason("NOT_A_LOCK"))
		<-l.Done()
		if err := l.Err(); !errors.Is(err, client.ErrLost) || !errors.Is(err, client.ErrNotLock) {
			t.Errorf("got %v, want ErrLost and ErrNotLock", err)
		}
		if took := time.Since(start); took > ttl/2 {
			t.Errorf("it took %v", took)
		}
	})
}

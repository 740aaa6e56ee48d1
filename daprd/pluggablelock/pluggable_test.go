package pluggablelock

import (
	"context"
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	contriblock "github.com/dapr/components-contrib/lock"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
)

func TestInit_Metadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got map[string]string
		c := &component{onInit: func(_ context.Context, req *lockpb.LockStoreInitRequest) error {
			got = req.GetMetadata().GetProperties()
			return nil
		}}
		want := map[string]string{"store": "redis", "keyPrefix": "none"}
		if err := newStore(t, run(t, c)).InitLockStore(t.Context(), named("orders", want)); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, want) {
			t.Errorf("component received %v, want %v", got, want)
		}
	})
}

func TestInit_Errors(t *testing.T) {
	tests := []struct {
		name string
		c    *component
		code codes.Code
		text string
	}{
		{
			"with the component's message if it rejects the metadata",
			&component{onInit: func(context.Context, *lockpb.LockStoreInitRequest) error {
				return status.Error(codes.InvalidArgument, "metadata key sotre: nearest is store")
			}},
			codes.InvalidArgument, "metadata key sotre: nearest is store",
		},
		{
			"if the component cannot return its features",
			&component{onFeatures: func(context.Context) error { return status.Error(codes.Internal, "broken") }},
			codes.Internal, "broken",
		},
		{
			"at its deadline",
			&component{onInit: func(ctx context.Context, _ *lockpb.LockStoreInitRequest) error {
				<-ctx.Done()
				return ctx.Err()
			}},
			codes.DeadlineExceeded, "", // either side may reach the deadline first
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				s := newStore(t, run(t, tt.c))
				wantError(t, s.InitLockStore(ctx, named("orders", nil)), tt.code, tt.text)
				if s.connector != nil {
					t.Error("the connection must be closed, because daprd does not close a store that failed")
				}
			})
		})
	}
}

func TestTryLock_Fields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got *lockpb.TryLockRequest
		c := &component{onTryLock: func(_ context.Context, req *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
			got = req
			return &lockpb.TryLockResponse{Success: true, Metadata: map[string]string{"fencingToken": "7"}}, nil
		}}
		resp, err := open(t, run(t, c)).TryLock(t.Context(), &contriblock.TryLockRequest{
			ResourceID: "lock||a||r", LockOwner: "o", ExpiryInSeconds: 60, Metadata: map[string]string{"k": "v"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got.GetResourceId() != "lock||a||r" || got.GetLockOwner() != "o" || got.GetExpiryInSeconds() != 60 || got.GetMetadata()["k"] != "v" {
			t.Errorf("component received %v", got)
		}
		if !resp.Success || resp.Metadata["fencingToken"] != "7" {
			t.Errorf("daprd received %+v", resp)
		}
	})
}

func TestTryLock_HeldLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &component{onTryLock: func(context.Context, *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
			return &lockpb.TryLockResponse{}, nil
		}}
		resp, err := open(t, run(t, c)).TryLock(t.Context(), &contriblock.TryLockRequest{})
		if err != nil || resp.Success {
			t.Errorf("TryLock = %+v, %v, want success=false", resp, err)
		}
	})
}

func TestUnlock_Fields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got *lockpb.UnlockRequest
		c := &component{onUnlock: func(_ context.Context, req *lockpb.UnlockRequest) (*lockpb.UnlockResponse, error) {
			got = req
			return &lockpb.UnlockResponse{Metadata: map[string]string{"heldMs": "12"}}, nil
		}}
		resp, err := open(t, run(t, c)).Unlock(t.Context(), &contriblock.UnlockRequest{
			ResourceID: "lock||a||r", LockOwner: "o", Metadata: map[string]string{"k": "v"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got.GetResourceId() != "lock||a||r" || got.GetLockOwner() != "o" || got.GetMetadata()["k"] != "v" {
			t.Errorf("component received %v", got)
		}
		if resp.Metadata["heldMs"] != "12" {
			t.Errorf("daprd received %+v", resp)
		}
	})
}

func TestUnlock_Status(t *testing.T) {
	want := map[lockpb.UnlockResponse_Status]contriblock.Status{
		lockpb.UnlockResponse_SUCCESS:                contriblock.Success,
		lockpb.UnlockResponse_LOCK_DOES_NOT_EXIST:    contriblock.LockDoesNotExist,
		lockpb.UnlockResponse_LOCK_BELONGS_TO_OTHERS: contriblock.LockBelongsToOthers,
		lockpb.UnlockResponse_INTERNAL_ERROR:         contriblock.InternalError,
	}
	for number, name := range lockpb.UnlockResponse_Status_name {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent := lockpb.UnlockResponse_Status(number)
				c := &component{onUnlock: func(context.Context, *lockpb.UnlockRequest) (*lockpb.UnlockResponse, error) {
					return &lockpb.UnlockResponse{Status: sent}, nil
				}}
				resp, err := open(t, run(t, c)).Unlock(t.Context(), &contriblock.UnlockRequest{})
				if err != nil {
					t.Fatal(err)
				}
				if resp.Status != want[sent] {
					t.Errorf("daprd received %d, want %d", resp.Status, want[sent])
				}
			})
		})
	}
}

func TestCall_Deadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left time.Duration
		c := &component{onTryLock: func(ctx context.Context, _ *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
			deadline, _ := ctx.Deadline()
			left = time.Until(deadline)
			return &lockpb.TryLockResponse{}, nil
		}}
		s := open(t, run(t, c))
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		if err := tryLock(ctx, s); err != nil {
			t.Fatal(err)
		}
		if left.Round(time.Millisecond) != 7*time.Second {
			t.Errorf("component: %v until the deadline, want 7s", left)
		}
	})
}

func TestCall_Cancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arrived, ended := make(chan struct{}), make(chan struct{})
		c := &component{onTryLock: func(ctx context.Context, _ *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
			close(arrived)
			<-ctx.Done()
			close(ended)
			return nil, ctx.Err()
		}}
		s := open(t, run(t, c))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		wantError(t, tryLock(ctx, s), codes.Canceled, "context canceled")
		<-ended
	})
}

func TestClose(t *testing.T) {
	t.Run("does nothing before Init", func(t *testing.T) {
		s := newGRPCLockStore(nil, (&process{}).dial)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("waits for a call in progress", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			arrived := make(chan struct{})
			s := open(t, run(t, &component{onTryLock: func(context.Context, *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
				close(arrived)
				<-time.After(closeTimeout / 2)
				return &lockpb.TryLockResponse{Success: true}, nil
			}}))
			go func() { <-arrived; s.Close() }()
			if err := tryLock(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("ends a call that takes too long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			arrived := make(chan struct{})
			s := open(t, run(t, &component{onTryLock: func(ctx context.Context, _ *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
				close(arrived)
				<-ctx.Done()
				return nil, ctx.Err()
			}}))
			go func() { <-arrived; s.Close() }()
			wantError(t, tryLock(t.Context(), s), codes.Canceled, "grpc: the client connection is closing")
		})
	})
	t.Run("rejects later calls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, run(t, &component{}))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			wantError(t, tryLock(t.Context(), s), codes.Canceled, "connection to component is closed")
		})
	})
}

// wantError fails the test unless err has the code and, if it is not empty, the text.
func wantError(t *testing.T, err error, code codes.Code, text string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want %v: %s", code, text)
	}
	if status.Code(err) != code || text != "" && err.Error() != text {
		t.Errorf("got %v: %q, want %v: %q", status.Code(err), err, code, text)
	}
	if grpc := errors.Unwrap(err); status.Code(grpc) != code {
		t.Errorf("cause: got %v", grpc)
	}
}

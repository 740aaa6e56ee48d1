package pluggablelock

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	contriblock "github.com/dapr/components-contrib/lock"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
)

func TestRestart(t *testing.T) {
	tests := []struct {
		name string
		call func(context.Context, *grpcLockStore) error
	}{
		{"repeats Init and TryLock", tryLock},
		{"repeats Init and Unlock", func(ctx context.Context, s *grpcLockStore) error {
			_, err := s.Unlock(ctx, &contriblock.UnlockRequest{})
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &component{}
				s := open(t, run(t, c))
				for restart := range int32(3) {
					c.initialized.Store(false)
					if err := tt.call(t.Context(), s); err != nil {
						t.Fatal(err)
					}
					if inits, calls := c.inits.Load(), c.locks.Load()+c.unlocks.Load(); inits != restart+2 || calls != 2*(restart+1) {
						t.Errorf("after %d restarts: %d inits, %d calls", restart+1, inits, calls)
					}
				}
			})
		})
	}
}

func TestRestart_DuringInit(t *testing.T) {
	tests := []struct {
		name  string
		where string
	}{
		{"before the features are sent", "features"},
		{"before the request is repeated", "request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &component{}
				s := open(t, run(t, c))
				c.initialized.Store(false)
				restarted := func() bool { return c.inits.Load() < 4 }
				c.onFeatures = func(context.Context) error {
					if tt.where == "features" && restarted() {
						c.initialized.Store(false)
						return errNotInitialized()
					}
					return nil
				}
				c.onTryLock = func(context.Context, *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
					if tt.where == "request" && restarted() {
						return nil, errNotInitialized()
					}
					return &lockpb.TryLockResponse{Success: true}, nil
				}
				if err := tryLock(t.Context(), s); err != nil || c.inits.Load() != 4 {
					t.Errorf("after %d inits: %v", c.inits.Load(), err)
				}
			})
		})
	}
}

func TestRestart_RepeatsInit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left []time.Duration
		var hosts []string
		c := &component{onInit: func(ctx context.Context, req *lockpb.LockStoreInitRequest) error {
			deadline, _ := ctx.Deadline()
			left = append(left, time.Until(deadline).Round(time.Millisecond))
			hosts = append(hosts, req.GetMetadata().GetProperties()["redisHost"])
			return nil
		}}
		s := newStore(t, run(t, c))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		properties := map[string]string{"redisHost": "a:1"}
		if err := s.InitLockStore(ctx, named("orders", properties)); err != nil {
			t.Fatal(err)
		}
		properties["redisHost"] = "changed by the caller"
		c.initialized.Store(false)
		if err := tryLock(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if len(left) != 2 || left[0] != 30*time.Second || left[1] != left[0] || hosts[1] != "a:1" {
			t.Errorf("inits received the timeouts %v and the hosts %v", left, hosts)
		}
	})
}

// Half of the errors are returned while Init is repeated, half of them afterwards.
func TestRestart_ConcurrentCallsShareInit(t *testing.T) {
	tests := []struct {
		name   string
		answer error
		text   string // empty for success
	}{
		{"that succeeds", nil, ""},
		{"that fails", status.Error(codes.Unavailable, "redis: no answer"),
			"component has restarted and could not be initialized again: redis: no answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &component{notInitializedDelay: 2 * time.Second}
				s := open(t, run(t, c))
				c.initialized.Store(false)
				c.onInit = func(context.Context, *lockpb.LockStoreInitRequest) error {
					<-time.After(time.Second)
					return tt.answer
				}
				for _, err := range runConcurrently(200, func() error { return tryLock(t.Context(), s) }) {
					if tt.text != "" {
						wantError(t, err, codes.Unavailable, tt.text)
					} else if err != nil {
						t.Error(err)
					}
				}
				if n := c.inits.Load(); n != 2 {
					t.Errorf("got %d inits, want the first and one for the restart", n)
				}
			})
		})
	}
}

func TestRestart_CanceledDuringInit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &component{}
		s := open(t, run(t, c))
		c.initialized.Store(false)
		c.onInit = func(ctx context.Context, _ *lockpb.LockStoreInitRequest) error {
			if c.inits.Load() > 2 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		first, cancel := context.WithCancel(t.Context())
		errs := make(chan error)
		go func() { errs <- tryLock(first, s) }()
		synctest.Wait() // the first call is in Init
		go func() { errs <- tryLock(t.Context(), s) }()
		synctest.Wait() // the second call waits for it
		cancel()
		wantError(t, <-errs, codes.Canceled, "component has restarted and could not be initialized again: context canceled")
		if err := <-errs; err != nil {
			t.Errorf("the second call: %v", err)
		}
	})
}

func TestRestart_DeadlineDuringInit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &component{}
		s := open(t, run(t, c))
		c.initialized.Store(false)
		c.onInit = func(ctx context.Context, _ *lockpb.LockStoreInitRequest) error {
			<-ctx.Done()
			return ctx.Err()
		}
		go tryLock(t.Context(), s)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantError(t, tryLock(ctx, s), codes.DeadlineExceeded, "context deadline exceeded")
	})
}

func TestRestart_CloseDuringInit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &component{}
		s := open(t, run(t, c))
		c.initialized.Store(false)
		c.onInit = func(ctx context.Context, _ *lockpb.LockStoreInitRequest) error {
			go s.Close()
			<-ctx.Done()
			return ctx.Err()
		}
		for _, err := range runConcurrently(50, func() error { return tryLock(t.Context(), s) }) {
			if status.Code(err) != codes.Canceled {
				t.Errorf("error is %v, want %v", err, codes.Canceled)
			}
		}
		if n := c.inits.Load(); n != 2 {
			t.Errorf("got %d inits, want the first and one for the restart", n)
		}
	})
}

func TestRestart_MaxRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &component{}
		s := open(t, run(t, c))
		c.onTryLock = func(context.Context, *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
			return nil, errNotInitialized()
		}
		wantError(t, tryLock(t.Context(), s), codes.FailedPrecondition, "no such instance")
		if inits, locks := c.inits.Load(), c.locks.Load(); inits != 1+maxRestarts || locks != 1+maxRestarts {
			t.Errorf("got %d inits and %d calls, want %d of each", inits, locks, 1+maxRestarts)
		}
	})
}

// runConcurrently runs n calls concurrently and returns their errors.
func runConcurrently(n int, call func() error) []error {
	var all sync.WaitGroup
	errs := make([]error, n)
	for i := range errs {
		all.Go(func() { errs[i] = call() })
	}
	all.Wait()
	return errs
}

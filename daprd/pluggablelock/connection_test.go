package pluggablelock

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
)

func TestCall_AfterRestart(t *testing.T) {
	for _, absence := range []time.Duration{0, time.Millisecond, time.Second, time.Minute, 3 * time.Minute, 5 * time.Minute} {
		t.Run("after "+absence.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := run(t, &component{})
				s := open(t, p)
				p.kill()
				synctest.Wait() // the store detects the end
				ctx, cancel := context.WithTimeout(t.Context(), absence)
				defer cancel()
				if err := tryLock(ctx, s); err == nil { // from now on gRPC reconnects
					t.Error("a call succeeded without a component")
				}
				<-ctx.Done()
				c := &component{}
				p.start(c)
				start := time.Now()
				if err := tryLock(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > reconnectTimeout {
					t.Errorf("call took %v, want at most reconnectTimeout", took)
				}
				if inits, locks := c.inits.Load(), c.locks.Load(); inits != 1 || locks != 2 {
					t.Errorf("the new process received %d inits and %d calls, want 1 and 2", inits, locks)
				}
			})
		})
	}
}

func TestCall_AwaitsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := run(t, &component{})
		s := open(t, p)
		p.kill()
		synctest.Wait() // the store detects the end
		time.AfterFunc(reconnectTimeout/2, func() { p.start(&component{}) })
		if err := tryLock(t.Context(), s); err != nil {
			t.Error(err)
		}
	})
}

func TestCall_ConnectionTimeout(t *testing.T) {
	tests := []struct {
		name    string
		timeout time.Duration
		took    time.Duration
		code    codes.Code
		text    string
	}{
		{"at the timeout", time.Hour, reconnectTimeout, codes.Unavailable,
			"no connection to component at passthrough:///memory for 3s"},
		{"at its deadline", time.Second, time.Second, codes.DeadlineExceeded,
			"no connection to component at passthrough:///memory: context deadline exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := run(t, &component{})
				s := open(t, p)
				p.kill()
				synctest.Wait() // the store detects the end
				ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
				defer cancel()
				start := time.Now()
				wantError(t, tryLock(ctx, s), tt.code, tt.text)
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

func TestClose_EndsWaitingCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := run(t, &component{})
		s := open(t, p)
		p.kill()
		synctest.Wait() // the store detects the end
		time.AfterFunc(time.Second, func() { s.Close() })
		wantError(t, tryLock(t.Context(), s), codes.Canceled, "connection to component is closed")
	})
}

func TestCall_LongerThanReconnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &component{onTryLock: func(context.Context, *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
			<-time.After(10 * reconnectTimeout)
			return &lockpb.TryLockResponse{}, nil
		}}
		if err := tryLock(t.Context(), open(t, run(t, c))); err != nil {
			t.Error(err)
		}
	})
}

func TestCall_NotRepeatedOnceSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &component{}
		next.initialized.Store(true)
		var p *process
		c := &component{onTryLock: func(ctx context.Context, _ *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
			p.kill()
			p.start(next)
			return &lockpb.TryLockResponse{Success: true}, nil
		}}
		p = run(t, c)
		s := open(t, p)
		if err := tryLock(t.Context(), s); status.Code(err) != codes.Unavailable {
			t.Errorf("error is %v, want %v", err, codes.Unavailable)
		}
		if err := tryLock(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if before, after := c.locks.Load(), next.locks.Load(); before != 1 || after != 1 {
			t.Errorf("the processes received %d and %d calls, want 1 and 1", before, after)
		}
	})
}

func TestAwaitConnection_Repeats(t *testing.T) {
	tests := []struct {
		name     string
		receiver net.Addr
		err      error
		want     int
	}{
		{"not after a response", &net.UnixAddr{}, nil, 1},
		{"not after it was sent", &net.UnixAddr{}, status.Error(codes.Unavailable, "EOF"), 1},
		{"without a connection", nil, status.Error(codes.Unavailable, "connection refused"), 3},
		{"not after another error", nil, status.Error(codes.ResourceExhausted, "too large"), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, err := run(t, &component{}).dial(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				sent := 0
				invoke := func(_ context.Context, _ string, _, _ any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
					opts[len(opts)-1].(grpc.PeerCallOption).PeerAddr.Addr = tt.receiver
					if sent++; sent == 3 {
						return nil
					}
					return tt.err
				}
				if err := awaitConnection(t.Context(), "", nil, nil, conn, invoke); sent < 3 && !errors.Is(err, tt.err) {
					t.Errorf("error is %v, want %v", err, tt.err)
				}
				if sent != tt.want {
					t.Errorf("sent %d times, want %d", sent, tt.want)
				}
			})
		})
	}
}

// The number of calls is small because the race detector fails when a bubble's timers
// fire some ten thousand times, golang/go#78156.
func TestCall_GracefulRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := func(context.Context, *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
			<-time.After(time.Millisecond)
			return &lockpb.TryLockResponse{Success: true}, nil
		}
		p := run(t, &component{onTryLock: busy})
		s := open(t, p)
		time.AfterFunc(10*time.Millisecond, func() {
			p.stop()
			<-time.After(time.Second)
			p.start(&component{onTryLock: busy})
		})
		runConcurrently(50, func() error {
			for range 20 {
				if err := tryLock(t.Context(), s); err != nil {
					t.Error(err)
				}
			}
			return nil
		})
	})
}

func TestCall_IdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := run(t, &component{})
		s := open(t, p)
		<-time.After(24 * time.Hour) // gRPC closes an idle connection after half an hour
		if err := tryLock(t.Context(), s); err != nil {
			t.Error(err)
		}
	})
}

func TestInit_AwaitsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &process{}
		t.Cleanup(p.kill)
		time.AfterFunc(reconnectTimeout/2, func() { p.start(&component{}) })
		open(t, p)
	})
}

func TestInit_ConnectionTimeout(t *testing.T) {
	for _, timeout := range []time.Duration{time.Second, time.Hour} {
		t.Run("within "+timeout.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, &process{})
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				start := time.Now()
				err := s.InitLockStore(ctx, named("orders", nil))
				if err == nil || !strings.Contains(err.Error(), "connection refused") {
					t.Errorf("error must contain the cause, got %v", err)
				}
				if took, want := time.Since(start), min(timeout, reconnectTimeout); took != want {
					t.Errorf("took %v, want %v", took, want)
				}
			})
		})
	}
}

func TestDialWithin_Context(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "Init's")
	dial := dialWithin(ctx, func(ctx context.Context, name string, _ ...grpc.DialOption) (*grpc.ClientConn, error) {
		if got := ctx.Value(key{}); got != "Init's" || name != "orders" {
			t.Errorf("dialed with the context %v and the name %s", got, name)
		}
		return nil, nil
	})
	if _, err := dial(context.Background(), "orders"); err != nil {
		t.Error(err)
	}
}

package rtm

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// releaseCounter is a server that only counts releases.
type releaseCounter struct {
	rtmpb.ChannelLocksClient
	atomic.Int32
}

func (r *releaseCounter) ReleaseLock(context.Context, *rtmpb.ReleaseLockRequest, ...grpc.CallOption) (*rtmpb.LockResponse, error) {
	r.Add(1)
	return &rtmpb.LockResponse{}, nil
}

func TestAttempt_FinishDuringExpiry(t *testing.T) {
	performing := &Error{Code: ErrPerforming, Operation: opAcquire}
	for range 1_000 {
		server := &releaseCounter{}
		u := &User{rpc: server, locks: map[lockID]*Lock{}, attempts: map[lockID]*attempt{}, lostList: newLostNode()}
		u.sessionCtx, u.endSession = context.WithCancelCause(t.Context())
		l := u.addLock(t.Context(), Detail{Channel: Message("room"), Name: "pen", TTL: time.Hour}, time.Now())
		a := &attempt{User: u, id: l.id(), endedGrants: map[uint64]error{}}
		a.tryRegister()
		var both sync.WaitGroup
		u.mu.Lock()
		both.Go(func() { a.finish(t.Context(), performing) })
		both.Go(func() {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.endLock(l, ErrExpired)
			u.releaseInBackground(l.id())
		})
		for range 10 {
			runtime.Gosched() // so that both wait for the mutex
		}
		u.mu.Unlock()
		both.Wait()
		u.background.Wait()
		if got := server.Load(); got != 1 {
			t.Fatalf("the lock was released %d times, want once", got)
		}
	}
}

package main

// The resources of a process: its start time, and its memory when idle and with many
// locks.

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"
	"google.golang.org/grpc/metadata"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
)

const (
	idleTime        = time.Second // after which a started process counts as idle
	redisSettleTime = 5 * time.Second
	fillCallers     = 64   // the number of callers that acquire the held locks
	heldTTL         = 3600 // of held locks, in seconds
	redisBatch      = 1000 // commands in one pipeline
	megabyte        = 1e6
)

// sideOf returns a side that needs no preparation.
func sideOf(name string, sample func(ctx context.Context, l *env) ([]float64, error)) side {
	return side{name, func(_ context.Context, l *env) (sampler, error) {
		return func(ctx context.Context) ([]float64, error) { return sample(ctx, l) }, nil
	}}
}

// startTime is the side that measures the time from exec to the first response of the
// health service, in milliseconds: the median of as many starts as fit into the interval.
func startTime(which program) side {
	return sideOf(which.name, func(ctx context.Context, l *env) ([]float64, error) {
		var times []float64
		for begin := time.Now(); len(times) == 0 || time.Since(begin) < l.interval(); {
			p, err := l.start(ctx, which)
			if err != nil {
				return nil, err
			}
			p.stop()
			times = append(times, float64(p.ready)/float64(time.Millisecond))
		}
		return []float64{median(times)}, nil
	})
}

// idleMemory is the side that measures the resident memory of a program after its start,
// in megabytes.
func idleMemory(which program) side {
	return sideOf(which.name, func(ctx context.Context, l *env) ([]float64, error) {
		p, err := l.start(ctx, which)
		if err != nil {
			return nil, err
		}
		defer p.stop()
		rss, err := p.rssAfter(ctx, idleTime)
		return []float64{rss / megabyte}, err
	})
}

// mortiseHolds is the side that measures the memory of Mortise with many locks.
var mortiseHolds = sideOf("Mortise memory", func(ctx context.Context, l *env) ([]float64, error) {
	p, err := l.start(ctx, mortiseProgram)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	return p.sizes(ctx, l.held, l.settle, func() error { return p.hold(ctx, l.held) })
})

// redisHolds is the side that measures the memory of redis-server with the same locks, as
// plain keys. Without garbage collection it settles sooner.
var redisHolds = sideOf("redis-server", func(ctx context.Context, l *env) ([]float64, error) {
	p, err := l.startRedis(ctx)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	return p.sizes(ctx, l.held, min(redisSettleTime, l.settle), func() error { return holdInRedis(ctx, p.addr, l.held) })
})

// sizes returns the resident memory idle, with n locks, and with them after the time to
// settle, and the growth per lock of the last two.
func (p *process) sizes(ctx context.Context, n int, settle time.Duration, hold func() error) ([]float64, error) {
	idle, err := p.rssAfter(ctx, idleTime)
	if err != nil {
		return nil, err
	}
	if err := hold(); err != nil {
		return nil, err
	}
	full, err := p.rssAfter(ctx, 0)
	if err != nil {
		return nil, err
	}
	settled, err := p.rssAfter(ctx, settle)
	perLock := func(rss float64) float64 { return (rss - idle) / float64(n) }
	return []float64{idle / megabyte, full / megabyte, settled / megabyte, perLock(full), perLock(settled)}, err
}

// rssAfter returns rss after a pause.
func (p *process) rssAfter(ctx context.Context, pause time.Duration) (float64, error) {
	select {
	case <-time.After(pause):
		return p.rss()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// heldKey returns the key of the i-th of many locks.
func heldKey(i int64) string { return fmt.Sprintf("lock||app||order-%08d", i) }

// hold acquires n locks of the memory component.
func (p *process) hold(ctx context.Context, n int) error {
	ctx, cancel := context.WithCancelCause(metadata.AppendToOutgoingContext(ctx, "x-component-instance", "memory"))
	defer cancel(nil)
	client := lockpb.NewLockStoreClient(p.conn)
	var all sync.WaitGroup
	var next atomic.Int64
	for range fillCallers {
		all.Go(func() {
			own, end := context.WithCancel(ctx)
			defer end()
			for i := next.Add(1); i <= int64(n) && ctx.Err() == nil; i = next.Add(1) {
				granted, err := client.TryLock(own, &lockpb.TryLockRequest{
					ResourceId: heldKey(i), LockOwner: uuid.NewString(), ExpiryInSeconds: heldTTL,
				})
				if err != nil {
					cancel(err)
				} else if !granted.GetSuccess() {
					cancel(errNotLocked)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// holdInRedis acquires n locks as lock.redis does, many in one pipeline.
func holdInRedis(ctx context.Context, addr string, n int) error {
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	defer client.Close()
	for i := 0; i < n; {
		_, err := client.Pipelined(ctx, func(pipe goredis.Pipeliner) error {
			for end := min(n, i+redisBatch); i < end; i++ {
				pipe.SetArgs(ctx, heldKey(int64(i)), uuid.NewString(), goredis.SetArgs{Mode: "NX", TTL: heldTTL * time.Second})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// withHeldLocks is the throughput of a Mortise with n held locks. The keys of the callers
// are spread among those of the held locks.
func withHeldLocks(n int) side {
	const callers = 64
	return side{fmt.Sprintf("Mortise, %d held", n), func(ctx context.Context, l *env) (sampler, error) {
		p, err := l.start(ctx, mortiseProgram)
		if err != nil {
			return nil, err
		}
		l.row.add(p.stop)
		if err := p.hold(ctx, n); err != nil {
			return nil, err
		}
		var calls atomic.Int64
		lockAndUnlock := lockPair(p.conn, "memory")
		path := path{"", func(context.Context, *env) (pair, error) {
			return func(ctx context.Context, c caller) error {
				c.key = heldKey(calls.Add(7919)%int64(n)) + "/" + c.resource
				return lockAndUnlock(ctx, c)
			}, nil
		}}
		return throughput(path, callers).open(ctx, l)
	}}
}

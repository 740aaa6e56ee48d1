package main

// What a process takes: time to start, and memory, idle and with many locks.

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
	idleTime   = time.Second // after which a process that was just started counts as idle
	calmTime   = 5 * time.Second
	fillers    = 64   // how many callers take the locks that shall be held
	heldTTL    = 3600 // of those, in seconds
	redisBatch = 1000 // how many of those go to Redis at once
	megabyte   = 1e6
)

// simple is a side that needs nothing before its samples.
func simple(name string, sample func(ctx context.Context, l *lab) ([]float64, error)) side {
	return side{name, func(_ context.Context, l *lab) (sampler, error) {
		return func(ctx context.Context) ([]float64, error) { return sample(ctx, l) }, nil
	}}
}

// startOf is the time from exec to the first answer of the health service, in
// milliseconds: the median of as many starts as fit into the interval.
func startOf(which program) side {
	return simple(which.name, func(ctx context.Context, l *lab) ([]float64, error) {
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

// idleOf is the resident memory of a program that has just started, in megabytes.
func idleOf(which program) side {
	return simple(which.name, func(ctx context.Context, l *lab) ([]float64, error) {
		p, err := l.start(ctx, which)
		if err != nil {
			return nil, err
		}
		defer p.stop()
		rss, err := p.rssAfter(ctx, idleTime)
		return []float64{rss / megabyte}, err
	})
}

// mortiseHolds is the memory that Mortise takes for many locks, taken through its socket.
var mortiseHolds = simple("Mortise memory", func(ctx context.Context, l *lab) ([]float64, error) {
	p, err := l.start(ctx, mortiseProgram)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	return p.sizes(ctx, l.held, l.settle, func() error { return p.hold(ctx, l.held) })
})

// redisHolds is the memory that redis-server takes for the same locks, as plain keys. It
// has no garbage to collect, so it is not left alone for long.
var redisHolds = simple("redis-server", func(ctx context.Context, l *lab) ([]float64, error) {
	p, err := l.startRedis(ctx)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	return p.sizes(ctx, l.held, min(calmTime, l.settle), func() error { return holdInRedis(ctx, p.addr, l.held) })
})

// sizes are the resident memory idle, with n locks, and with them after the time to
// settle; and, of the growth, what falls to a lock.
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
	each := func(rss float64) float64 { return (rss - idle) / float64(n) }
	return []float64{idle / megabyte, full / megabyte, settled / megabyte, each(full), each(settled)}, err
}

// rssAfter is rss after a pause.
func (p *process) rssAfter(ctx context.Context, pause time.Duration) (float64, error) {
	select {
	case <-time.After(pause):
		return p.rss()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// heldKey is the key of the i-th of many locks.
func heldKey(i int64) string { return fmt.Sprintf("lock||app||order-%08d", i) }

// hold takes n locks of the memory component and keeps them.
func (p *process) hold(ctx context.Context, n int) error {
	ctx, cancel := context.WithCancelCause(metadata.AppendToOutgoingContext(ctx, "x-component-instance", "memory"))
	defer cancel(nil)
	client := lockpb.NewLockStoreClient(p.conn)
	var all sync.WaitGroup
	var next atomic.Int64
	for range fillers {
		all.Go(func() {
			own, end := context.WithCancel(ctx)
			defer end()
			for i := next.Add(1); i <= int64(n) && ctx.Err() == nil; i = next.Add(1) {
				taken, err := client.TryLock(own, &lockpb.TryLockRequest{
					ResourceId: heldKey(i), LockOwner: uuid.NewString(), ExpiryInSeconds: heldTTL,
				})
				if err != nil {
					cancel(err)
				} else if !taken.GetSuccess() {
					cancel(errLocks)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// holdInRedis takes n locks the way lock.redis does, many at a time.
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

// holding is the throughput of a Mortise that holds n locks. The locks that come and go
// are spread among them.
func holding(n int) side {
	const callers = 64
	return side{fmt.Sprintf("Mortise, %d held", n), func(ctx context.Context, l *lab) (sampler, error) {
		p, err := l.start(ctx, mortiseProgram)
		if err != nil {
			return nil, err
		}
		l.row.add(p.stop)
		if err := p.hold(ctx, n); err != nil {
			return nil, err
		}
		var calls atomic.Int64
		amid := lockPair(p.conn, "memory")
		path := path{"", func(context.Context, *lab) (pair, error) {
			return func(ctx context.Context, c caller) error {
				c.key = heldKey(calls.Add(7919)%int64(n)) + "/" + c.resource
				return amid(ctx, c)
			}, nil
		}}
		return throughput(path, callers).open(ctx, l)
	}}
}

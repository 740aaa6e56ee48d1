package main

// The paths to a lock that the throughput rows compare.

import (
	"context"
	"errors"
	"fmt"
	"time"

	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"
	goredis "github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
)

// errLocks reports a lock that was not granted to its only caller, or not given back.
var errLocks = errors.New("the lock was not taken and given back")

// bareEcho is two calls of a service that does nothing, in a process of its own.
var bareEcho = path{"bare gRPC echo", func(_ context.Context, l *lab) (pair, error) {
	p, err := l.echo()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ caller) error {
		for range callsPerPair {
			if err := p.conn.Invoke(ctx, echoMethod, &emptypb.Empty{}, &emptypb.Empty{}); err != nil {
				return err
			}
		}
		return nil
	}, nil
}}

// cannedLocks is LockStore's messages with answers that are always the same: what the
// protocol costs without a lock.
var cannedLocks = path{"canned answers", func(_ context.Context, l *lab) (pair, error) {
	p, err := l.echo()
	if err != nil {
		return nil, err
	}
	return lockPair(p.conn, "canned"), nil
}}

// throughMortise is a component of Mortise, through its socket.
func throughMortise(component string) path {
	return path{"Mortise " + component, func(_ context.Context, l *lab) (pair, error) {
		p, err := l.mortise()
		if err != nil {
			return nil, err
		}
		return lockPair(p.conn, component), nil
	}}
}

// waitingAtMortise is a component of Mortise, asked for a lock that would be waited for
// if somebody else had it.
func waitingAtMortise(component string) path {
	return path{"Mortise " + component + ", Lock", func(_ context.Context, l *lab) (pair, error) {
		p, err := l.mortise()
		if err != nil {
			return nil, err
		}
		return waitingPair(lockspb.NewLocksClient(p.conn), component), nil
	}}
}

// otherMortise is the memory component of the program that --against names.
var otherMortise = path{"other Mortise memory", func(_ context.Context, l *lab) (pair, error) {
	p, err := l.other()
	if err != nil {
		return nil, err
	}
	return lockPair(p.conn, "memory"), nil
}}

// throughDaprd is a component of daprd, through its own API.
func throughDaprd(component string) path {
	name := "daprd, Mortise " + component
	if component == "builtin" {
		name = "daprd, lock.redis"
	}
	return path{name, func(_ context.Context, l *lab) (pair, error) {
		p, err := l.daprd()
		if err != nil {
			return nil, err
		}
		return daprPair(runtimepb.NewDaprClient(p.conn), component), nil
	}}
}

// lockPair calls LockStore as daprd does.
func lockPair(conn *grpc.ClientConn, instance string) pair {
	client := lockpb.NewLockStoreClient(conn)
	return func(ctx context.Context, c caller) error {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-component-instance", instance)
		taken, err := client.TryLock(ctx, &lockpb.TryLockRequest{ResourceId: c.key, LockOwner: c.owner, ExpiryInSeconds: ttl})
		if err != nil {
			return err
		}
		freed, err := client.Unlock(ctx, &lockpb.UnlockRequest{ResourceId: c.key, LockOwner: c.owner})
		if err == nil && (!taken.GetSuccess() || freed.GetStatus() != lockpb.UnlockResponse_SUCCESS) {
			err = fmt.Errorf("%w: %v, %v", errLocks, taken, freed)
		}
		return err
	}
}

// waitingPair calls Locks as our client does.
func waitingPair(client lockspb.LocksClient, store string) pair {
	return func(ctx context.Context, c caller) error {
		taken, err := client.Lock(ctx,
			&lockspb.LockRequest{Store: store, Key: c.key, Owner: c.owner, Ttl: durationpb.New(ttl * time.Second)})
		if err != nil {
			return err
		}
		_, err = client.Unlock(ctx, &lockspb.UnlockRequest{Store: store, Key: c.key, Owner: c.owner})
		if err == nil && !taken.GetAcquired() {
			err = errLocks
		}
		return err
	}
}

// daprPair calls daprd as its SDKs do.
func daprPair(client runtimepb.DaprClient, store string) pair {
	return func(ctx context.Context, c caller) error {
		taken, err := client.TryLockAlpha1(ctx,
			&runtimepb.TryLockRequest{StoreName: store, ResourceId: c.resource, LockOwner: c.owner, ExpiryInSeconds: ttl})
		if err != nil {
			return err
		}
		freed, err := client.UnlockAlpha1(ctx, &runtimepb.UnlockRequest{StoreName: store, ResourceId: c.resource, LockOwner: c.owner})
		if err == nil && (!taken.GetSuccess() || freed.GetStatus() != runtimepb.UnlockResponse_SUCCESS) {
			err = fmt.Errorf("%w: %v, %v", errLocks, taken, freed)
		}
		return err
	}
}

// unlockScript is what everybody gives a Redis lock back with.
var unlockScript = goredis.NewScript(`if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) else return 0 end`)

// goRedis is the recipe of Redis's documentation, with nothing between this program and
// Redis.
var goRedis = path{"go-redis directly", func(_ context.Context, l *lab) (pair, error) {
	p, err := l.redis()
	if err != nil {
		return nil, err
	}
	client := goredis.NewClient(&goredis.Options{Addr: p.addr})
	l.row.add(func() { _ = client.Close() })
	return func(ctx context.Context, c caller) error {
		err := client.SetArgs(ctx, c.key, c.owner, goredis.SetArgs{Mode: "NX", TTL: ttl * time.Second}).Err()
		if err != nil {
			return fmt.Errorf("%w: %w", errLocks, err)
		}
		freed, err := unlockScript.Run(ctx, client, []string{c.key}, c.owner).Int()
		if err == nil && freed != 1 {
			err = errLocks
		}
		return err
	}, nil
}}

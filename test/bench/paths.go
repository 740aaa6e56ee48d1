package main

// The paths that the throughput rows compare.

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

// errNotLocked reports a lock that was not granted to its only caller, or not released.
var errNotLocked = errors.New("the lock must be granted and released")

// bareEcho makes two calls of an empty method in another process.
var bareEcho = path{"bare gRPC echo", func(_ context.Context, l *env) (pair, error) {
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

// cannedLocks uses LockStore's messages with constant responses: it measures the protocol
// without a lock.
var cannedLocks = path{"canned answers", func(_ context.Context, l *env) (pair, error) {
	p, err := l.echo()
	if err != nil {
		return nil, err
	}
	return lockPair(p.conn, "canned"), nil
}}

// throughMortise uses a component of Mortise through its socket.
func throughMortise(component string) path {
	return path{"Mortise " + component, func(_ context.Context, l *env) (pair, error) {
		p, err := l.mortise()
		if err != nil {
			return nil, err
		}
		return lockPair(p.conn, component), nil
	}}
}

// waitingMortise uses Lock, which may wait, of a component of Mortise.
func waitingMortise(component string) path {
	return path{"Mortise " + component + ", Lock", func(_ context.Context, l *env) (pair, error) {
		p, err := l.mortise()
		if err != nil {
			return nil, err
		}
		return waitPair(lockspb.NewLocksClient(p.conn), component), nil
	}}
}

// otherMortise uses the memory component of the binary that --against names.
var otherMortise = path{"other Mortise memory", func(_ context.Context, l *env) (pair, error) {
	p, err := l.other()
	if err != nil {
		return nil, err
	}
	return lockPair(p.conn, "memory"), nil
}}

// throughDaprd uses a component of daprd through its API.
func throughDaprd(component string) path {
	name := "daprd, Mortise " + component
	if component == "builtin" {
		name = "daprd, lock.redis"
	}
	return path{name, func(_ context.Context, l *env) (pair, error) {
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
		granted, err := client.TryLock(ctx, &lockpb.TryLockRequest{ResourceId: c.key, LockOwner: c.owner, ExpiryInSeconds: ttl})
		if err != nil {
			return err
		}
		released, err := client.Unlock(ctx, &lockpb.UnlockRequest{ResourceId: c.key, LockOwner: c.owner})
		if err == nil && (!granted.GetSuccess() || released.GetStatus() != lockpb.UnlockResponse_SUCCESS) {
			err = fmt.Errorf("%w: %v, %v", errNotLocked, granted, released)
		}
		return err
	}
}

// waitingPair calls Locks as our client does.
func waitPair(client lockspb.LocksClient, store string) pair {
	return func(ctx context.Context, c caller) error {
		granted, err := client.Lock(ctx,
			&lockspb.LockRequest{Store: store, Key: c.key, Owner: c.owner, Ttl: durationpb.New(ttl * time.Second)})
		if err != nil {
			return err
		}
		_, err = client.Unlock(ctx, &lockspb.UnlockRequest{Store: store, Key: c.key, Owner: c.owner})
		if err == nil && !granted.GetAcquired() {
			err = errNotLocked
		}
		return err
	}
}

// daprPair calls daprd as its SDKs do.
func daprPair(client runtimepb.DaprClient, store string) pair {
	return func(ctx context.Context, c caller) error {
		granted, err := client.TryLockAlpha1(ctx,
			&runtimepb.TryLockRequest{StoreName: store, ResourceId: c.resource, LockOwner: c.owner, ExpiryInSeconds: ttl})
		if err != nil {
			return err
		}
		released, err := client.UnlockAlpha1(ctx, &runtimepb.UnlockRequest{StoreName: store, ResourceId: c.resource, LockOwner: c.owner})
		if err == nil && (!granted.GetSuccess() || released.GetStatus() != runtimepb.UnlockResponse_SUCCESS) {
			err = fmt.Errorf("%w: %v, %v", errNotLocked, granted, released)
		}
		return err
	}
}

// unlockScript is the usual script that releases a lock in Redis.
var unlockScript = goredis.NewScript(`if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) else return 0 end`)

// directRedis is the algorithm of Redis's documentation, in this process.
var directRedis = path{"go-redis directly", func(_ context.Context, l *env) (pair, error) {
	p, err := l.redis()
	if err != nil {
		return nil, err
	}
	client := goredis.NewClient(&goredis.Options{Addr: p.addr})
	l.row.add(func() { _ = client.Close() })
	return func(ctx context.Context, c caller) error {
		err := client.SetArgs(ctx, c.key, c.owner, goredis.SetArgs{Mode: "NX", TTL: ttl * time.Second}).Err()
		if err != nil {
			return fmt.Errorf("%w: %w", errNotLocked, err)
		}
		released, err := unlockScript.Run(ctx, client, []string{c.key}, c.owner).Int()
		if err == nil && released != 1 {
			err = errNotLocked
		}
		return err
	}, nil
}}

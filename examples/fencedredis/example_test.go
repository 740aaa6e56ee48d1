package fencedredis_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/examples/fencedredis"
)

// ship writes the state of an order while it holds the order's lock.
func ship(ctx context.Context, locks *client.Client, redis *goredis.Client, order string) error {
	_, err := client.Do(ctx, locks, order, func(ctx context.Context) (any, error) {
		lease, _ := client.LeaseFrom(ctx)
		return nil, fencedredis.Set(ctx, redis, order, "sent", lease.Token())
	})
	return err
}

// The example needs a Mortise and a Redis, so it is only compiled; a test runs ship.
func Example() {
	locks, err := client.Dial("unix:///tmp/dapr-components-sockets/mortise.sock")
	if err != nil {
		log.Fatal(err)
	}
	defer locks.Close()
	redis := goredis.NewClient(&goredis.Options{Addr: "localhost:6379"})
	defer redis.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = ship(ctx, locks, redis, "order-1")
	switch {
	case errors.Is(err, fencedredis.ErrStale):
		fmt.Println("a later holder has written; nothing was changed")
	case errors.Is(err, client.ErrLost):
		fmt.Println("the state was written, and the lock was lost afterwards")
	case err != nil:
		log.Fatal(err)
	}
}

package fencedsql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/examples/fencedsql"
	"github.com/mortise-lock/mortise/examples/internal/holders"
)

// setupExample returns a client of a Mortise in this process, instead of one at
// "unix:///tmp/dapr-components-sockets/mortise.sock" or host:port, and a database with an
// order.
func setupExample() (locks *client.Client, db *sql.DB, end func()) {
	locks, stop := holders.Serve()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(1) // each connection has a separate in-memory database
	if _, err := db.Exec(fencedsql.Orders + `; INSERT INTO orders (id, state) VALUES ('order-1', 'new')`); err != nil {
		log.Fatal(err)
	}
	return locks, db, func() {
		_ = db.Close()
		stop()
	}
}

func Example() {
	ctx := context.Background()
	locks, db, end := setupExample()
	defer end()

	_, err := client.Do(ctx, locks, "order-1", func(ctx context.Context) (any, error) {
		lease, _ := client.LeaseFrom(ctx)
		return nil, fencedsql.SetState(ctx, db, "order-1", "sent", lease.Token())
	})
	fmt.Println(err)
	// Output: <nil>
}

// Ann acquires the lock and pauses until the lease has expired. Bob acquires the lock and
// writes. Then Ann continues and writes.
func ExampleSetState_stale() {
	ctx := context.Background()
	locks, db, end := setupExample()
	defer end()

	ann, err := locks.Lock(ctx, "order-1", client.TTL(20*time.Millisecond), client.NoRenew())
	if err != nil {
		log.Fatal(err)
	}
	bob, err := locks.Lock(ctx, "order-1")
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Unlock(ctx)
	fmt.Println("bob:", fencedsql.SetState(ctx, db, "order-1", "sent by bob", bob.Token()))
	err = fencedsql.SetState(ctx, db, "order-1", "sent by ann", ann.Token())
	fmt.Println("ann:", err, errors.Is(err, fencedsql.ErrStale))
	// Output:
	// bob: <nil>
	// ann: order "order-1": fencing token is stale true
}

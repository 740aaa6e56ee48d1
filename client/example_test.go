package client_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/client/datasource"
	"github.com/mortise-lock/mortise/client/internal/journal"
)

// The examples use a Mortise in this process, instead of one at
// "unix:///tmp/dapr-components-sockets/mortise.sock" or host:port.
var (
	ctx            = context.Background()
	exampleNetwork = newNetwork()
	c              = exampleNetwork.client()
)

func ExampleDial() {
	c, err := client.Dial("unix:///tmp/dapr-components-sockets/mortise.sock",
		client.Store("lockstore"),    // required if Mortise has several components
		client.Namespace("shop"),     // separates programs that share a store
		client.TTL(10*time.Second),   // a lock expires this long after its last renewal
		client.BearerToken("secret"), // if Mortise requires one
	)
	if err != nil {
		log.Fatal(err) // the options are invalid; Dial does not connect
	}
	defer c.Close()
	// Output:
}

func ExampleDo() {
	total, err := client.Do(ctx, c, "order-42", func(ctx context.Context) (int, error) {
		// No other holder is here. ctx ends if the lock is lost.
		return 3 * 14, ctx.Err()
	})
	fmt.Println(total, err)
	// Output: 42 <nil>
}

func ExampleDo_lost() {
	done, err := client.Do(ctx, c, "order-42", func(ctx context.Context) (bool, error) {
		if err := c.Revoke(ctx, "order-42", ""); err != nil { // as an operator may do
			return false, err
		}
		return true, nil
	})
	fmt.Println(done, errors.Is(err, client.ErrLost))
	// Output: true true
}

func ExampleClient_Lock() {
	lease, err := c.Lock(ctx, "order-42", client.Wait(5*time.Second))
	if errors.Is(err, client.ErrLocked) {
		fmt.Println("another owner has held it for five seconds")
		return
	} else if err != nil {
		log.Fatal(err)
	}
	work := lease.Context() // ends when the lock is lost
	fmt.Println("locked", work.Err())
	if err := lease.Unlock(ctx); err != nil {
		fmt.Println("the lock may have been lost during the work:", err)
	}
	// Output: locked <nil>
}

func ExampleClient_TryLock() {
	first, err := c.TryLock(ctx, "order-42")
	if err != nil {
		log.Fatal(err)
	}
	defer first.Unlock(ctx)

	_, err = c.TryLock(ctx, "order-42")
	fmt.Println(err)
	// Output: mortise: try lock "order-42": lock is held
}

func ExampleClient_LockAll() {
	lease, err := c.LockAll(ctx, []string{"account-bob", "account-ann"}) // both or none
	if err != nil {
		log.Fatal(err)
	}
	defer lease.Unlock(ctx)
	fmt.Println(lease.Keys())
	// Output: [account-ann account-bob]
}

func ExampleLease_Token() {
	var seen uint64 // stored with the resource that the lock guards
	write := func(token uint64) string {
		if token < seen {
			return "rejected"
		}
		seen = token
		return "written"
	}

	first, err := c.Lock(ctx, "report")
	if err != nil {
		log.Fatal(err)
	}
	if err := first.Unlock(ctx); err != nil { // or it is lost before the holder notices
		log.Fatal(err)
	}
	second, err := c.Lock(ctx, "report")
	if err != nil {
		log.Fatal(err)
	}
	defer second.Unlock(ctx)

	fmt.Println(write(second.Token()), write(first.Token()))
	// Output: written rejected
}

func ExampleLeaseFrom() {
	_, err := client.Do(ctx, c, "report", func(ctx context.Context) (any, error) {
		lease, _ := client.LeaseFrom(ctx)
		fmt.Println(lease.Key(), lease.Token() > 0)
		return nil, nil
	})
	fmt.Println(err)
	// Output:
	// report true
	// <nil>
}

func ExampleClient_Lock_nested() {
	_, err := client.Do(ctx, c, "order-42", func(ctx context.Context) (any, error) {
		return client.Do(ctx, c, "order-42", func(context.Context) (any, error) { return nil, nil })
	})
	fmt.Println(err)
	// Output: mortise: lock "order-42": waiting would be a deadlock
}

func ExampleNoRenew() {
	lease, err := c.Lock(ctx, "report", client.TTL(time.Minute), client.NoRenew())
	if err != nil {
		log.Fatal(err)
	}
	defer lease.Unlock(ctx)
	if err := lease.Renew(ctx); err != nil { // before work that exceeds the TTL
		log.Fatal(err)
	}
	fmt.Println(time.Until(lease.Expires()) > 50*time.Second)
	// Output: true
}

func ExampleResource() {
	user := client.Resource[int64]("user-${id}")
	type Seat struct {
		Hall string
		Row  int
	}
	seat := client.Resource[Seat]("hall-${hall}/row-${row}")

	fmt.Println(user.Of(42))
	fmt.Println(seat.Of(Seat{Hall: "main", Row: 3}))
	// Output:
	// user-42
	// hall-main/row-3
}

func ExampleWithTenant() {
	shop := c.With(client.Namespace("shop"))
	acme := client.WithTenant(ctx, "acme") // once per request, in the middleware

	own, err := shop.Lock(acme, "stock")
	if err != nil {
		log.Fatal(err)
	}
	defer own.Unlock(ctx)
	all, err := shop.Lock(acme, "stock", client.Global())
	if err != nil {
		log.Fatal(err)
	}
	defer all.Unlock(ctx)
	fmt.Println(own.Key(), all.Key())
	// Output: shop:acme:stock shop:~:stock
}

func ExampleDoIsolated() {
	db := &journal.Journal{} // records statements; Open returns a pool of one connection
	pools := datasource.SQL(func(datasource.Source) (*sql.DB, error) { return db.Open(), nil })
	defer pools.Close()
	write := func(ctx context.Context, query string) error {
		conn, err := datasource.Conn(ctx, pools)
		if err != nil {
			return err
		}
		_, err = conn.ExecContext(ctx, query)
		return err
	}

	// InTx uses the only connection of the first level.
	err := datasource.InTx(ctx, pools, nil, func(ctx context.Context) error {
		if err := write(ctx, "UPDATE orders"); err != nil {
			return err
		}
		_, err := client.DoIsolated(ctx, c, "invoice-number", func(ctx context.Context) (any, error) {
			return nil, write(ctx, "UPDATE numbers") // on another connection
		})
		return err
	})
	fmt.Println(err)
	for _, line := range db.Take() {
		fmt.Println(line)
	}
	// Output:
	// <nil>
	// begin
	// tx UPDATE orders
	// UPDATE numbers
	// commit
}

// The equivalent of VonaJS's lockIsolate(`user-${userId}`, fn).
func ExampleDoIsolated_resource() {
	user := client.Resource[int64]("user-${id}")

	result, err := client.DoIsolated(ctx, c, user.Of(1), func(context.Context) (string, error) {
		return "some result", nil
	})
	fmt.Println(result, err)
	// Output: some result <nil>
}

func ExampleClient_List() {
	lease, err := c.Lock(ctx, "disk-1", client.Metadata(map[string]string{"for": "cleaning"}))
	if err != nil {
		log.Fatal(err)
	}
	defer lease.Unlock(ctx)

	locks, err := c.List(ctx, "disk-")
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range locks {
		fmt.Println(l.Key, l.TTL, l.Metadata["for"], l.Waiters)
	}
	// Output: disk-1 30s cleaning 0
}

func ExampleClient_Revoke() {
	lease, err := c.Lock(ctx, "disk-1", client.TTL(100*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Revoke(ctx, "disk-1", ""); err != nil {
		log.Fatal(err)
	}
	<-lease.Context().Done()
	fmt.Println(context.Cause(lease.Context()))
	// Output: mortise: lock "disk-1": lock is lost: it is free
}

func ExampleClient_Watch() {
	enough := errors.New("seen enough")
	err := c.Watch(ctx, "gate-", func(e client.Event) error {
		switch e.Kind {
		case client.EventSnapshot: // the held locks; again after a reconnection
			go client.Do(ctx, c, "gate-1", func(context.Context) (any, error) { return nil, nil })
		case client.EventReleased:
			fmt.Println(e.Kind, e.Lock.Key)
			return enough
		default:
			fmt.Println(e.Kind, e.Lock.Key)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// ACQUIRED gate-1
	// RELEASED gate-1
	// seen enough
}

package rtm_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/client/rtm"
)

// The examples use a Mortise in this process, instead of one at
// "unix:///tmp/dapr-components-sockets/mortise.sock" or host:port.
var (
	ctx            = context.Background()
	exampleNetwork = newNetwork()
	c              = exampleNetwork.client()
)

func Example() {
	alice, err := rtm.Login(ctx, c, "alice")
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Logout(ctx, true)

	channel := rtm.Message("my_channel")
	_, err = alice.SetLock(ctx, channel, "my_lock", 30*time.Second)
	if err != nil && !errors.Is(err, rtm.ErrLockAlreadyExist) {
		log.Fatal(err)
	}
	lock, err := alice.AcquireLock(ctx, channel, "my_lock", true) // waits for the lock
	if err != nil {
		log.Fatal(err)
	}
	work := lock.Context() // ends when the lock is lost
	fmt.Println(lock.Name, "is", lock.Owner+"'s", work.Err())
	if err := lock.Release(ctx); err != nil {
		fmt.Println("the lock may have been lost during the work:", err)
	}
	// Output: my_lock is alice's <nil>
}

func ExampleLogin() {
	chat := c.With(client.Store("chat")) // required if Mortise has several components
	alice, err := rtm.Login(ctx, chat, "alice")
	if errors.Is(err, rtm.ErrNotConnected) {
		fmt.Println("Mortise is unreachable")
		return
	} else if err != nil {
		log.Fatal(err)
	}
	defer alice.Close() // Mortise keeps the user's locks for their TTLs
	fmt.Println(alice.Name(), "has", alice.Locks())
	// Output: alice has []
}

func ExampleUser_AcquireLock() {
	ann, bob := login("ann"), login("bob")
	defer ann.Logout(ctx, true)
	defer bob.Logout(ctx, true)
	channel := rtm.Stream("stage")
	ttl, err := ann.SetLock(ctx, channel, "microphone", 0)
	fmt.Println(ttl, err)

	first, err := ann.AcquireLock(ctx, channel, "microphone", false)
	if err != nil {
		log.Fatal(err)
	}
	_, err = bob.AcquireLock(ctx, channel, "microphone", false)
	fmt.Println(errors.Is(err, rtm.ErrAcquireFailed))

	if err := ann.ReleaseLock(ctx, channel, "microphone"); err != nil {
		log.Fatal(err)
	}
	second, err := bob.AcquireLock(ctx, channel, "microphone", false)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(second.Rev > first.Rev, first.Err())
	// Output:
	// 10s <nil>
	// true
	// true mortise: lock "microphone" of STREAM "stage": it was released
}

func ExampleUser_Events() {
	ann := login("ann")
	defer ann.Logout(ctx, true)
	channel := rtm.Message("board")
	for event, err := range ann.Events(ctx, channel) {
		if err != nil {
			log.Fatal(err) // ctx has ended, or ann is logged out
		}
		switch event.Type {
		case rtm.EventSnapshot: // all locks; again after a reconnection
			fmt.Println(len(event.Locks), "locks")
			if _, err := ann.SetLock(ctx, channel, "pen", 0); err != nil {
				log.Fatal(err)
			}
		default: // a change
			fmt.Println(event.Type, event.Lock.Name)
			return
		}
	}
	// Output:
	// 0 locks
	// SET pen
}

func ExampleUser_RevokeLock() {
	ann, bob := login("ann"), login("bob")
	defer ann.Logout(ctx, true)
	defer bob.Logout(ctx, true)
	channel := rtm.Message("desk")
	if _, err := ann.SetLock(ctx, channel, "pen", 0); err != nil {
		log.Fatal(err)
	}
	lock, err := ann.AcquireLock(ctx, channel, "pen", false)
	if err != nil {
		log.Fatal(err)
	}
	if err := bob.RevokeLock(ctx, channel, "pen", "ann"); err != nil {
		log.Fatal(err)
	}
	<-lock.Done()
	fmt.Println(errors.Is(lock.Err(), rtm.ErrRevoked), lock.Err())
	// Output: true mortise: lock "pen" of MESSAGE "desk": lock is lost: it was revoked
}

// login logs a user in.
func login(name string) *rtm.User {
	u, err := rtm.Login(ctx, c, name)
	if err != nil {
		log.Fatal(err)
	}
	return u
}

// Thousands of connections on which nothing is said.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// idlers is how many connections there are at each endpoint.
	idlers = 10_000
	// ofOne is how many of them one attacker has. The race detector does not bear a
	// goroutine for each.
	ofOne = 4
	// idleTime is how long an attacker stays, and roomTime how long he waits for room for
	// one connection.
	idleTime = 8 * time.Second
	roomTime = time.Second
)

// affordable is how many connections of so many this process may have.
func affordable(t *testing.T, want int) int {
	const spare = 1000
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if most := int(files.Cur) - spare; most < want {
		t.Logf("ONLY %d IDLE CONNECTIONS AND NOT %d: a process may have no more than %d files here", most, want, files.Cur)
		return most
	}
	return want
}

// outside is how many connections were not let in.
type outside int

// Error implements error.
func (o outside) Error() string { return fmt.Sprintf("%d were not let in", int(o)) }

// areIdle makes connections, agrees on TLS on those for which there is room, and stays
// for a while.
func areIdle(ctx context.Context, e endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, idleTime)
	defer cancel()
	var all []net.Conn
	for range ofOne {
		soon, stop := context.WithTimeout(ctx, roomTime)
		conn, err := e.connect(soon)
		stop()
		if err == nil {
			defer conn.Close()
			all = append(all, conn)
		}
	}
	inside := 0
	for _, conn := range all { // the others wait, and say nothing
		if _, err := e.enter(ctx, conn, nil); err == nil {
			inside++
		}
	}
	<-ctx.Done()
	if inside < ofOne {
		return outside(ofOne - inside)
	}
	return nil
}

// outcomes are how attacks have ended that should have ended otherwise. It is safe for
// concurrent use.
type outcomes struct {
	mu      sync.Mutex
	all     map[string]int
	outside int // connections for which there was no room
}

func (o *outcomes) add(e endpoint, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if some, ok := errors.AsType[outside](err); ok {
		o.outside += int(some)
	} else if err != nil {
		o.all[e.flag+": "+err.Error()]++
	}
}

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
	idleConns = 10_000
	// ofOne is how many of them one attacker has. The race detector does not bear a
	// goroutine for each.
	connsPerAttacker = 4
	// idleTime is how long an attacker stays, and roomTime how long he waits for room for
	// one connection.
	idleTime       = 8 * time.Second
	connectTimeout = time.Second
)

// affordable is how many connections of so many this process may have.
func affordableConns(t *testing.T, want int) int {
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
type rejectedConns int

// Error implements error.
func (o rejectedConns) Error() string { return fmt.Sprintf("%d were not let in", int(o)) }

// areIdle makes connections, agrees on TLS on those for which there is room, and stays
// for a while.
func stayIdle(ctx context.Context, e endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, idleTime)
	defer cancel()
	var all []net.Conn
	for range connsPerAttacker {
		soon, stop := context.WithTimeout(ctx, connectTimeout)
		conn, err := e.connect(soon)
		stop()
		if err == nil {
			defer conn.Close()
			all = append(all, conn)
		}
	}
	inside := 0
	for _, conn := range all { // the others wait, and say nothing
		if _, err := e.handshake(ctx, conn, nil); err == nil {
			inside++
		}
	}
	<-ctx.Done()
	if inside < connsPerAttacker {
		return rejectedConns(connsPerAttacker - inside)
	}
	return nil
}

// outcomes are how attacks have ended that should have ended otherwise. It is safe for
// concurrent use.
type attackResults struct {
	mu       sync.Mutex
	errors   map[string]int
	rejected int // connections for which there was no room
}

func (o *attackResults) add(e endpoint, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if some, ok := errors.AsType[rejectedConns](err); ok {
		o.rejected += int(some)
	} else if err != nil {
		o.errors[e.flag+": "+err.Error()]++
	}
}

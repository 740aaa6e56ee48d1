// Thousands of idle connections.
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
	// idleConns is the number of connections to each endpoint.
	idleConns = 10_000
	// connsPerAttacker is how many of them one attacker opens. The race detector does not
	// support a goroutine for each.
	connsPerAttacker = 4
	// idleTime is how long an attacker keeps its connections open, and connectTimeout how
	// long it waits until one of them is accepted.
	idleTime       = 8 * time.Second
	connectTimeout = time.Second
)

// affordableConns returns how many of the wanted connections this process can open.
func affordableConns(t *testing.T, want int) int {
	const spare = 1000
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if most := int(files.Cur) - spare; most < want {
		t.Logf("ONLY %d IDLE CONNECTIONS INSTEAD OF %d: a process can open at most %d files here", most, want, files.Cur)
		return most
	}
	return want
}

// rejectedConns is the number of connections that were not accepted.
type rejectedConns int

// Error implements error.
func (o rejectedConns) Error() string { return fmt.Sprintf("%d connections were not accepted", int(o)) }

// stayIdle opens connections, performs the TLS handshake on those that are accepted, and
// keeps them open for a while.
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
	accepted := 0
	for _, conn := range all { // the others send nothing
		if _, err := e.handshake(ctx, conn, nil); err == nil {
			accepted++
		}
	}
	<-ctx.Done()
	if accepted < connsPerAttacker {
		return rejectedConns(connsPerAttacker - accepted)
	}
	return nil
}

// attackResults collects the errors of attacks. It is safe for concurrent use.
type attackResults struct {
	mu       sync.Mutex
	errors   map[string]int
	rejected int // connections that were not accepted
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

// A holder that is suspended for longer than its lease, in its own process.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/examples/fencedredis"
)

// holderVariable, if it is set to a socket, makes the test binary run runHolder.
const holderVariable = "MORTISE_E2E_HOLDER"

// runHolder acquires the lock and prints its token. When it has lost the lock, it writes
// to the Redis at the address nevertheless, as a program would that does not check its
// lease.
func runHolder(socket, redisAddr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*waitTimeout)
	defer cancel()
	c, err := client.Dial("unix://"+socket, client.TTL(lockTTL))
	if err != nil {
		return err
	}
	defer c.Close()
	lease, err := c.Lock(ctx, "report")
	if err != nil {
		return err
	}
	fmt.Println("token", lease.Token())
	select {
	case <-lease.Context().Done():
		fmt.Println("cause:", context.Cause(lease.Context()))
	case <-ctx.Done():
		return ctx.Err()
	}
	if !errors.Is(context.Cause(lease.Context()), client.ErrLost) {
		return errors.New("the cause is not ErrLost")
	}
	r := goredis.NewClient(&goredis.Options{Addr: redisAddr, Password: secret})
	defer r.Close()
	fmt.Println("write:", fencedredis.Set(ctx, r, "report-text", "stale", lease.Token()))
	fmt.Println("unlock:", lease.Unlock(ctx))
	return nil
}

func TestHolder_Suspended(t *testing.T) {
	server := startRedis(t)
	for _, c := range []component{memory("locks"), redis("locks", server)} {
		t.Run(c.metadata["store"], func(t *testing.T) {
			m := startMortise(t, "--resources-path", newResources(t, c).path)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			h := start(t, "holder", self, []string{holderVariable + "=" + m.socket() + " " + server.Addr})
			h.awaitLine("token")
			h.signal(syscall.SIGSTOP)

			cl, err := client.Dial("unix://"+m.socket(), client.TTL(lockTTL))
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			var next *client.Lease
			within(t, waitLimit+slack, func() { next, err = cl.Lock(t.Context(), "report") })
			if err != nil {
				t.Fatal(err)
			}
			stale, err := strconv.ParseUint(strings.Fields(h.line("token"))[1], 10, 64)
			if err != nil || next.Token() <= stale {
				t.Errorf("got token %d after %d, %v; want a larger one", next.Token(), stale, err)
			}
			r := server.Client(func(o *goredis.Options) { o.Password = secret })
			if err := fencedredis.Set(t.Context(), r, "report-text", "fresh", next.Token()); err != nil {
				t.Fatal(err)
			}

			h.signal(syscall.SIGCONT)
			h.awaitLine("cause:", client.ErrLost.Error())
			h.awaitLine("write:", fencedredis.ErrStale.Error())
			h.awaitLine("unlock:", client.ErrLost.Error())
			if code := h.exitCode(); code != 0 {
				t.Errorf("holder: got exit code %d, want 0", code)
			}
			if text, err := r.HGet(t.Context(), "report-text", "value").Result(); text != "fresh" || err != nil {
				t.Errorf("the report is %q, %v", text, err)
			}
			if err := next.Unlock(t.Context()); err != nil {
				t.Errorf("the next holder: %v", err)
			}
		})
	}
}

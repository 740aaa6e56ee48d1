// The effect of an attack on TCP endpoints on clients of the socket.
package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
)

const (
	// answerLimit is the time limit of any call on the socket, also during an attack.
	answerLimit = time.Second

	// probeVariable, if it is set to a socket, makes the test binary run runProbe. The
	// probe is another process, because in this one it would compete with the attackers
	// for CPU time.
	probeVariable = "MORTISE_E2E_PROBE"
)

// latencies summarizes how long it took to acquire and release a lock.
type latencies struct {
	Times                int
	Median, P99, Slowest time.Duration
	Failures             []string // of calls; must be empty
}

// compare formats the latencies beside those without an attack.
func (l latencies) compare(baseline latencies) string {
	ratio := func(before, now time.Duration) string {
		return fmt.Sprintf("%v to %v (x%.1f)", before, now, float64(now)/float64(max(1, before)))
	}
	return fmt.Sprintf("median %s, p99 %s, slowest %v of %d",
		ratio(baseline.Median, l.Median), ratio(baseline.P99, l.P99), l.Slowest, l.Times)
}

// summarize returns the latencies of the durations.
func summarize(took []time.Duration, failures []string) latencies {
	slices.Sort(took)
	if len(took) == 0 {
		took = []time.Duration{0}
	}
	last := len(took) - 1
	return latencies{len(took), took[last/2], took[last*99/100], took[last], failures}
}

// runProbe measures from one line of its input to the next, writes the latencies, and
// repeats that until its input ends.
func runProbe(socket string) error {
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	lines, output := make(chan struct{}), json.NewEncoder(os.Stdout)
	go func() {
		defer close(lines)
		for input := bufio.NewScanner(os.Stdin); input.Scan(); {
			lines <- struct{}{}
		}
	}()
	for range lines {
		if err := output.Encode(measure(lockspb.NewLocksClient(conn), lines)); err != nil {
			return err
		}
	}
	return nil
}

// measure acquires and releases locks until it receives from stop.
func measure(locks lockspb.LocksClient, stop <-chan struct{}) latencies {
	var took []time.Duration
	var failures []string
	for i := 0; ; i++ {
		select {
		case <-stop:
			return summarize(took, failures)
		default:
		}
		begun := time.Now()
		if err := lockAndUnlock(locks, fmt.Sprint("probe", i)); err != nil && len(failures) < 10 {
			failures = append(failures, err.Error())
		}
		took = append(took, time.Since(begun))
	}
}

func lockAndUnlock(locks lockspb.LocksClient, key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	took, err := locks.TryLock(ctx, &lockspb.TryLockRequest{Store: "locks", Key: key, Owner: "o", Ttl: durationpb.New(answerLimit)})
	if err == nil && !took.GetAcquired() {
		err = fmt.Errorf("refused: %v", took)
	}
	if err != nil {
		return err
	}
	ctx, cancel = context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	_, err = locks.Unlock(ctx, &lockspb.UnlockRequest{Store: "locks", Key: key, Owner: "o"})
	return err
}

// probe is a running probe process.
type probe struct {
	input  io.Writer
	output *json.Decoder
}

// startProbe starts a probe that ends with the test.
func startProbe(t testing.TB, socket string) *probe {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), probeVariable+"="+socket)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = input.Close()
		_ = cmd.Wait() // only its measurements matter
	})
	return &probe{input, json.NewDecoder(output)}
}

// during returns the latencies that the probe measures while do runs. Each call must
// return within answerLimit.
func (p *probe) during(t testing.TB, do func()) (l latencies) {
	t.Helper()
	p.next(t)
	do()
	p.next(t)
	if err := p.output.Decode(&l); err != nil {
		t.Errorf("probe: %v", err)
	}
	for _, failure := range l.Failures {
		t.Errorf("call on the socket: %s", failure)
	}
	return l
}

func (p *probe) next(t testing.TB) {
	t.Helper()
	if _, err := fmt.Fprintln(p.input); err != nil {
		t.Errorf("probe: %v", err)
	}
}

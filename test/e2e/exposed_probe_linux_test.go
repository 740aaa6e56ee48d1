// What an attack on TCP does to those who use the socket.
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
	// answerLimit is how long any call on the socket may take, whatever goes on.
	answerLimit = time.Second

	// probeVariable makes the test's own binary a probe of the Mortise at this socket. It
	// is a process of its own, since in this one it would wait for the attackers to have
	// their turns.
	probeVariable = "MORTISE_E2E_PROBE"
)

// latencies are how long it took to take a lock and to give it back, among so many times.
type latencies struct {
	Times                int
	Median, P99, Slowest time.Duration
	Failures             []string // of calls, of which there should be none
}

// beside tells the latencies beside those of the calm.
func (l latencies) compare(calm latencies) string {
	ratio := func(before, now time.Duration) string {
		return fmt.Sprintf("%v to %v (x%.1f)", before, now, float64(now)/float64(max(1, before)))
	}
	return fmt.Sprintf("median %s, p99 %s, slowest %v of %d",
		ratio(calm.Median, l.Median), ratio(calm.P99, l.P99), l.Slowest, l.Times)
}

// summary is what there is to tell.
func summarize(took []time.Duration, failures []string) latencies {
	slices.Sort(took)
	if len(took) == 0 {
		took = []time.Duration{0}
	}
	last := len(took) - 1
	return latencies{len(took), took[last/2], took[last*99/100], took[last], failures}
}

// probing is the probe. It measures from one line of its input to the next, writes what
// it has measured, and so on until its input ends.
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

// measure takes and gives back a lock again and again until it is told to stop.
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

// probe is a probe, as the test sees it.
type probe struct {
	input  io.Writer
	output *json.Decoder
}

// startProbe starts a probe, which ends with the test.
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
		_ = cmd.Wait() // what it measures counts, and not how it ends
	})
	return &probe{input, json.NewDecoder(output)}
}

// during returns what the probe measures while do is done. Each call has to be answered
// within the limit.
func (p *probe) during(t testing.TB, do func()) (l latencies) {
	t.Helper()
	p.next(t)
	do()
	p.next(t)
	if err := p.output.Decode(&l); err != nil {
		t.Errorf("the probe has ended: %v", err)
	}
	for _, failure := range l.Failures {
		t.Errorf("a call on the socket: %s", failure)
	}
	return l
}

func (p *probe) next(t testing.TB) {
	t.Helper()
	if _, err := fmt.Fprintln(p.input); err != nil {
		t.Errorf("the probe has ended: %v", err)
	}
}

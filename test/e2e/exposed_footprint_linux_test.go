// What a process takes of its machine.
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// footprint is what a process takes.
type footprint struct{ files, goroutines int }

// restless is by how many goroutines a process at rest may differ: one that was asked for
// something lingers.
const goroutineTolerance = 8

// exceeds returns an error if it is more than before.
func (f footprint) exceeds(before footprint) error {
	if f.files > before.files || f.goroutines > before.goroutines+goroutineTolerance {
		return fmt.Errorf("there are %d files and %d goroutines, and there were %d and %d",
			f.files, f.goroutines, before.files, before.goroutines)
	}
	return nil
}

// footprint is what Mortise takes now.
func (x *exposed) footprint(ctx context.Context) (f footprint, err error) {
	if f.goroutines, err = x.goroutines(ctx); err != nil {
		return f, err
	}
	f.files, err = x.files()
	return f, err
}

// files is how many files the process has open.
func (x *exposed) files() (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", x.cmd.Process.Pid))
	return len(entries), err
}

// goroutines is how many the process has, as its metrics tell.
func (x *exposed) goroutines(ctx context.Context) (int, error) {
	metrics := x.endpoints[slices.IndexFunc(x.endpoints, func(e endpoint) bool { return e.flag == "--metrics-address" })]
	_, body, err := metrics.call(ctx, metrics.authorized())
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(body, []byte("\ngo_goroutines "))
	number, _, _ := strings.Cut(string(rest), "\n")
	return strconv.Atoi(number)
}

// memory is how much of it the process has, in MB. It is told, and nothing depends on it.
func (x *exposed) memory() int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", x.cmd.Process.Pid))
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kilobytes, _ := strconv.Atoi(fields[1])
			return kilobytes / 1024
		}
	}
	return 0
}

// peak is the most that was seen of a process.
type peak struct{ files, memory int }

// peakOf looks at the process now and then while do is done.
func (x *exposed) peakOf(do func()) (most peak) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		do()
	}()
	for ticker := time.Tick(100 * time.Millisecond); ; {
		if files, err := x.files(); err == nil {
			most = peak{max(most.files, files), max(most.memory, x.memory())}
		}
		select {
		case <-ended:
			return most
		case <-ticker:
		}
	}
}

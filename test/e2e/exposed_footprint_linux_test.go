// The resources that a process uses.
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

// footprint counts resources of a process.
type footprint struct{ files, goroutines int }

// goroutineTolerance is by how much the number of goroutines of an idle process may vary:
// those of recent requests may not have ended.
const goroutineTolerance = 8

// exceeds returns an error if f is larger than before.
func (f footprint) exceeds(before footprint) error {
	if f.files > before.files || f.goroutines > before.goroutines+goroutineTolerance {
		return fmt.Errorf("got %d files and %d goroutines, there were %d and %d before",
			f.files, f.goroutines, before.files, before.goroutines)
	}
	return nil
}

// footprint returns the present footprint of Mortise.
func (x *exposed) footprint(ctx context.Context) (f footprint, err error) {
	if f.goroutines, err = x.goroutines(ctx); err != nil {
		return f, err
	}
	f.files, err = x.files()
	return f, err
}

// files returns the number of open files of the process.
func (x *exposed) files() (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", x.cmd.Process.Pid))
	return len(entries), err
}

// goroutines returns the number of goroutines from the metrics of the process.
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

// memory returns the resident memory of the process in MB, for the log only.
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

// peak is the largest observed use of resources.
type peak struct{ files, memory int }

// peakOf samples the process while do runs.
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

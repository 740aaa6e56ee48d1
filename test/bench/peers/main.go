// Command peers measures a lock, ours or one that ours is compared with, in the same way.
//
// For each line of its standard input, a duration, its callers acquire and release the
// lock for that time, and it prints the result as a line of JSON. It ends with its input.
// Package main of test/bench starts it. It is a separate module because go mod tidy fails
// with a test dependency of rueidis; `go get` updates its go.mod instead.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// run serves the lines of in until it ends.
func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	var name, addr, counterFile string
	var hold time.Duration
	var l load
	var callers int
	flags := pflag.NewFlagSet("peers", pflag.ContinueOnError)
	flags.StringVar(&name, "locks", "", "which locks to measure")
	flags.StringVar(&addr, "addr", "", "address of their server")
	flags.IntVar(&callers, "callers", 1, "number of concurrent callers")
	flags.DurationVar(&hold, "hold", 0, "how long each caller holds the lock")
	flags.DurationVar(&l.grace, "grace", 10*time.Second, "how long a caller may wait after the end of the interval")
	flags.StringVar(&counterFile, "counter-file", "", "file with the number of holders, shared with other processes; all callers then use one key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l.hold = func() { pause(hold) }
	open, ok := lockers[name]
	if !ok {
		return fmt.Errorf("--locks: unknown locks %q", name)
	}
	if counterFile != "" {
		var err error
		if l.counter, err = openHolderCounter(counterFile); err != nil {
			return err
		}
		defer l.counter.close()
	}
	locks, err := open(ctx, addr)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer locks.close()
	if l.locks, err = locks.forEach(ctx, callers); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return serve(ctx, l, in, out)
}

// serve runs the load once for each line.
func serve(ctx context.Context, l load, in io.Reader, out io.Writer) error {
	results := json.NewEncoder(out)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		interval, err := time.ParseDuration(lines.Text())
		if err != nil {
			return err
		}
		if err := results.Encode(l.run(ctx, interval)); err != nil {
			return err
		}
	}
	return lines.Err()
}

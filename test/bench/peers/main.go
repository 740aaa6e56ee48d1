// Command peers loads a lock, ours or one of those that it is compared with, the same way
// for all of them.
//
// For each line of its standard input, a duration, it lets the callers take and give back
// the lock for so long, and writes what came out as a line of JSON. It ends with its
// input. Package main of test/bench starts it; it is a module of its own because go mod
// tidy fails with a test dependency of rueidis: `go get` keeps its go.mod instead.
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
	var name, addr, inside string
	var hold time.Duration
	var l load
	var callers int
	flags := pflag.NewFlagSet("peers", pflag.ContinueOnError)
	flags.StringVar(&name, "locks", "", "which locks to load")
	flags.StringVar(&addr, "addr", "", "where their server is")
	flags.IntVar(&callers, "callers", 1, "how many call at the same time")
	flags.DurationVar(&hold, "hold", 0, "how long each holds the lock")
	flags.DurationVar(&l.grace, "grace", 10*time.Second, "how long a caller may go on waiting when the time is over")
	flags.StringVar(&inside, "inside", "", "file that counts who is inside, shared with other processes; all callers then take one key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l.hold = func() { pause(hold) }
	open, ok := lockers[name]
	if !ok {
		return fmt.Errorf("there are no locks %q", name)
	}
	if inside != "" {
		var err error
		if l.room, err = openRoom(inside); err != nil {
			return err
		}
		defer l.room.close()
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
	answers := json.NewEncoder(out)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		interval, err := time.ParseDuration(lines.Text())
		if err != nil {
			return err
		}
		if err := answers.Encode(l.run(ctx, interval)); err != nil {
			return err
		}
	}
	return lines.Err()
}

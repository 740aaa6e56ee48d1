// Command bench measures Mortise and the programs that it is compared with in one run,
// and prints tables of ratios, CPU times and wait times.
//
// A row of the first table has two sides, which are measured in turn, round after round,
// on the same machine: whatever slows the machine down slows both. The ratios matter;
// absolute numbers depend on the machine. Add rows in rows.go.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// options are the flags.
type options struct {
	rounds       int
	seconds      float64
	only         string
	list         bool
	held         int
	settle       time.Duration
	waitInterval time.Duration
	mortise      string
	daprd        string
	against      string
}

// interval returns how long one side is measured in one round.
func (o options) interval() time.Duration { return time.Duration(o.seconds * float64(time.Second)) }

func main() {
	if socket := os.Getenv(echoVariable); socket != "" {
		exit(serveEcho(socket))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parse(args []string) (o options, err error) {
	flags := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 5, "how many times each side is measured; slow rows have a smaller limit")
	flags.Float64Var(&o.seconds, "seconds", 0.8, "how long each side is measured in a round")
	flags.StringVar(&o.only, "only", "", "regular expression that the names of rows must match; cost/ is the second table, wait/ the third")
	flags.BoolVar(&o.list, "list", false, "print the names of the rows and exit")
	flags.IntVar(&o.held, "held", 1_000_000, "number of locks in the rows with many held locks")
	flags.DurationVar(&o.settle, "settle", 150*time.Second,
		"how long a process with many locks is idle before its memory is measured; Go collects garbage at least every 2 minutes")
	flags.DurationVar(&o.waitInterval, "wait-interval", 20*time.Second, "how long callers compete for one lock in the rows of the third table")
	flags.StringVar(&o.mortise, "mortise", "", "Mortise binary to measure; the default is built from this checkout")
	flags.StringVar(&o.daprd, "daprd", "", "daprd binary with pluggable locks and lock.redis; the default is built from this checkout")
	flags.StringVar(&o.against, "against", "", "another Mortise binary, which additional rows compare with this one")
	return o, flags.Parse(args)
}

// run measures the rows and prints the tables.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	ratios := slices.DeleteFunc(rows(o), func(r row) bool { return !only.MatchString(r.name) })
	costs := slices.DeleteFunc(costs(o), func(c cost) bool { return !only.MatchString(c.name()) })
	waits := slices.DeleteFunc(waitRows(), func(o waitRow) bool { return !only.MatchString(o.name()) })
	if o.list {
		list(out, ratios, costs, waits)
		return nil
	}
	lab, err := newEnv(ctx, o, progress)
	if err != nil {
		return err
	}
	defer lab.close()
	lines, err := lab.measureAll(ctx, ratios)
	printLines(out, o, lines) // also of an incomplete run
	if err != nil {
		return err
	}
	if err := lab.measureCosts(ctx, costs); err != nil {
		return err
	}
	printCosts(out, costs)
	err = lab.measureWaits(ctx, waits)
	printWaits(out, o.waitInterval, waits)
	return err
}

func list(out io.Writer, ratios []row, costs []cost, waits []waitRow) {
	for _, r := range ratios {
		fmt.Fprintln(out, r.name)
	}
	for _, c := range costs {
		fmt.Fprintln(out, c.name())
	}
	for _, o := range waits {
		fmt.Fprintln(out, o.name())
	}
}

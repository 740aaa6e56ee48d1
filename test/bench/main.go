// Command bench measures Mortise beside what it is compared with, in one run, and prints
// a table of ratios.
//
// A row of the table has two sides, which are measured in turn, round after round, on the
// same machine: whatever slows the machine down slows both. Read the ratios; the absolute
// numbers belong to the machine. Add a row in rows.go.
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
	rounds  int
	seconds float64
	only    string
	list    bool
	held    int
	settle  time.Duration
	order   time.Duration
	mortise string
	daprd   string
	against string
}

// interval is how long one side is measured in one round.
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
	flags.IntVar(&o.rounds, "rounds", 5, "how many times each side is measured; slow rows have a smaller limit of their own")
	flags.Float64Var(&o.seconds, "seconds", 0.8, "how long each side is measured in a round")
	flags.StringVar(&o.only, "only", "", "regular expression that the names of the rows match; cost/ is the second table, order/ the third")
	flags.BoolVar(&o.list, "list", false, "print the names of the rows and end")
	flags.IntVar(&o.held, "held", 1_000_000, "how many locks are held where the rows say many")
	flags.DurationVar(&o.settle, "settle", 150*time.Second,
		"how long a process with many locks is left alone; Go collects garbage at least every 2 minutes")
	flags.DurationVar(&o.order, "order", 20*time.Second, "how long callers queue up for one lock where the rows say order")
	flags.StringVar(&o.mortise, "mortise", "", "Mortise program to measure, instead of building this checkout's")
	flags.StringVar(&o.daprd, "daprd", "", "daprd that can load Mortise and has lock.redis, instead of building this checkout's")
	flags.StringVar(&o.against, "against", "", "another Mortise program, to compare with this one in rows of its own")
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
	orders := slices.DeleteFunc(orders(), func(o order) bool { return !only.MatchString(o.name()) })
	if o.list {
		list(out, ratios, costs, orders)
		return nil
	}
	lab, err := newLab(ctx, o, progress)
	if err != nil {
		return err
	}
	defer lab.close()
	lines, err := lab.measureAll(ctx, ratios)
	printLines(out, o, lines) // also of a run that was not finished
	if err != nil {
		return err
	}
	if err := lab.measureCosts(ctx, costs); err != nil {
		return err
	}
	printCosts(out, costs)
	err = lab.measureOrders(ctx, orders)
	printOrders(out, o.order, orders)
	return err
}

func list(out io.Writer, ratios []row, costs []cost, orders []order) {
	for _, r := range ratios {
		fmt.Fprintln(out, r.name)
	}
	for _, c := range costs {
		fmt.Fprintln(out, c.name())
	}
	for _, o := range orders {
		fmt.Fprintln(out, o.name())
	}
}

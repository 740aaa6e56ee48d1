package main

// The third table: how long those wait who want the same lock, and whether each gets its
// share.

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"
)

// order is a row of the table.
type order struct {
	locks   locker
	workers int  // processes that the waiters are spread over
	ours    bool // the aims are for it

	result *result // nil until it is measured
}

const (
	waiters  = 16
	holdTime = time.Millisecond

	longestWait = 20   // aim for the 99th percentile, in milliseconds
	mostSpread  = 1.02 // aim for most to least grants
)

// name is what --only matches.
func (o order) name() string { return fmt.Sprintf("order/%s/%d", o.locks.key, o.workers) }

// measureOrders fills in the rows.
func (l *lab) measureOrders(ctx context.Context, orders []order) error {
	for i := range orders {
		fmt.Fprintln(l.progress, orders[i].name())
		if err := l.measureOrder(ctx, &orders[i]); err != nil {
			return fmt.Errorf("%s: %w", orders[i].name(), err)
		}
	}
	return nil
}

func (l *lab) measureOrder(ctx context.Context, o *order) error {
	defer l.row.close()
	w, err := l.startWorkers(o.locks, o.workers, waiters, holdTime)
	if err != nil {
		return err
	}
	r, err := w.run(ctx, l.options.order)
	if err != nil {
		return err
	}
	if trouble := r.trouble(); trouble != "" {
		fmt.Fprintf(l.progress, "%s\n%s", trouble, w.logs())
	}
	o.result = &r
	return nil
}

// printOrders prints the rows in Markdown.
func printOrders(out io.Writer, interval time.Duration, orders []order) {
	table := [][]string{{"locks", "processes", "locks/s", "hand-over µs", "wait p50 ms", "p99", "max", "most/least", "trouble", "aim", "met"}}
	for _, o := range orders {
		if o.result == nil {
			continue // the run was not finished
		}
		table = append(table, o.cells())
	}
	if len(table) == 1 {
		return
	}
	fmt.Fprintf(out, "Who waits how long: %d callers in so many processes take one lock, over and over, for %v. Each pauses for %v while it "+
		"has the lock, and counts overlaps when somebody else has it too. most/least are the callers' grants.\n\n", waiters, interval, holdTime)
	printMarkdown(out, table)
}

func (o order) cells() []string {
	r := o.result
	goal, met := "", ""
	if o.ours {
		goal, met = fmt.Sprintf("p99 ≤ %d, most/least ≤ %g", longestWait, mostSpread), "no"
		if r.wait(0.99) <= longestWait && r.spread() <= mostSpread && r.trouble() == "" {
			met = "yes"
		}
	}
	spread := fmt.Sprintf("%.3f", r.spread())
	return []string{o.locks.name, strconv.Itoa(o.workers), short(r.perSecond()), short(r.handOver()), short(r.wait(0.5)), short(r.wait(0.99)),
		short(r.wait(1)), spread, r.trouble(), goal, met}
}

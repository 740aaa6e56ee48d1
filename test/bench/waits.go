package main

// The third table: how long callers wait that compete for one lock, and how evenly the
// lock is granted to them.

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"
)

// waitRow is a row of the table.
type waitRow struct {
	locks   locker
	workers int  // the number of processes that the callers run in
	ours    bool // the aims apply

	result *result // nil until it is measured
}

const (
	waiters  = 16
	holdTime = time.Millisecond

	maxP99    = 20   // the aim for the 99th percentile, in milliseconds
	maxSpread = 1.02 // the aim for the ratio of most to least grants
)

// name returns the name that --only matches.
func (o waitRow) name() string { return fmt.Sprintf("wait/%s/%d", o.locks.key, o.workers) }

// measureWaits measures the rows.
func (l *env) measureWaits(ctx context.Context, rows []waitRow) error {
	for i := range rows {
		fmt.Fprintln(l.log, rows[i].name())
		if err := l.measureWait(ctx, &rows[i]); err != nil {
			return fmt.Errorf("%s: %w", rows[i].name(), err)
		}
	}
	return nil
}

func (l *env) measureWait(ctx context.Context, o *waitRow) error {
	defer l.row.close()
	w, err := l.startWorkers(o.locks, o.workers, waiters, holdTime)
	if err != nil {
		return err
	}
	r, err := w.run(ctx, l.options.waitInterval)
	if err != nil {
		return err
	}
	if failures := r.failures(); failures != "" {
		fmt.Fprintf(l.log, "%s\n%s", failures, w.logs())
	}
	o.result = &r
	return nil
}

// printWaits prints the rows in Markdown.
func printWaits(out io.Writer, interval time.Duration, rows []waitRow) {
	table := [][]string{{"locks", "processes", "locks/s", "handoff µs", "wait p50 ms", "p99", "max", "most/least", "failures", "aim", "met"}}
	for _, o := range rows {
		if o.result == nil {
			continue // the run is incomplete
		}
		table = append(table, o.cells())
	}
	if len(table) == 1 {
		return
	}
	fmt.Fprintf(out, "Wait times: %d callers in one or two processes lock and unlock one key for %v. Each holds the lock for %v, and counts an "+
		"overlap if another one holds it too. most/least are the callers' grants.\n\n", waiters, interval, holdTime)
	printMarkdown(out, table)
}

func (o waitRow) cells() []string {
	r := o.result
	goal, met := "", ""
	if o.ours {
		goal, met = fmt.Sprintf("p99 ≤ %d, most/least ≤ %g", maxP99, maxSpread), "no"
		if r.wait(0.99) <= maxP99 && r.spread() <= maxSpread && r.failures() == "" {
			met = "yes"
		}
	}
	spread := fmt.Sprintf("%.3f", r.spread())
	return []string{o.locks.name, strconv.Itoa(o.workers), short(r.perSecond()), short(r.handoff()), short(r.wait(0.5)), short(r.wait(0.99)),
		short(r.wait(1)), spread, r.failures(), goal, met}
}

package main

// The rows of the first table, and how they are measured.

import (
	"context"
	"fmt"
)

// row is a comparison of two sides.
type row struct {
	name    string // for -only
	a, b    side
	metrics []metric // of a sample's values; each becomes a line of the table
	rounds  int      // the largest useful number; 0: any number
}

// side is one of the two sides of a row. open starts what the side needs, and adds it to
// the closers of env. The sampler measures the side once, for the interval of env if that
// applies, and returns a value for each of the row's metrics.
type side struct {
	name string
	open func(ctx context.Context, l *env) (sampler, error)
}

type sampler func(ctx context.Context) ([]float64, error)

// metric describes one value of a sample.
type metric struct {
	name string
	unit string
	aim  aim
}

// aim is the goal of a metric. The zero aim is none.
type aim struct {
	text string
	met  func(a, ratio float64) bool
}

// ratioAtLeast returns an aim for the median of A divided by B.
func ratioAtLeast(want float64) aim {
	return aim{fmt.Sprintf("A/B ≥ %g", want), func(_, ratio float64) bool { return ratio >= want }}
}

// atMost returns an aim for the median of A.
func atMost(want float64) aim {
	return aim{fmt.Sprintf("A ≤ %g", want), func(a, _ float64) bool { return a <= want }}
}

// line is a line of the table: the values of one metric.
type line struct {
	row    row
	metric metric
	a, b   []float64 // by round
}

// measureAll measures the rows one after the other. It returns the lines that were
// measured before an error together with the error.
func (l *env) measureAll(ctx context.Context, rows []row) ([]line, error) {
	var all []line
	for _, r := range rows {
		fmt.Fprintln(l.log, r.name)
		lines, err := l.measure(ctx, r)
		if err != nil {
			return all, fmt.Errorf("%s: %w", r.name, err)
		}
		all = append(all, lines...)
	}
	return all, nil
}

// measure measures both sides of the row in turn, A B A B, and stops what it started.
func (l *env) measure(ctx context.Context, r row) ([]line, error) {
	defer l.row.close()
	a, err := r.a.open(ctx, l)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.a.name, err)
	}
	b, err := r.b.open(ctx, l)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.b.name, err)
	}
	var lines []line
	for _, m := range r.metrics {
		lines = append(lines, line{row: r, metric: m})
	}
	for range r.limit(l.rounds) {
		va, err := a(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.a.name, err)
		}
		vb, err := b(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.b.name, err)
		}
		for i := range lines {
			lines[i].a = append(lines[i].a, va[i])
			lines[i].b = append(lines[i].b, vb[i])
		}
	}
	return lines, nil
}

// limit returns the number of rounds of the row, at most rounds.
func (r row) limit(rounds int) int {
	if r.rounds > 0 {
		return min(r.rounds, rounds)
	}
	return rounds
}

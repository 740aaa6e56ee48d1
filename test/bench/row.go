package main

// What a row is, and how it is measured.

import (
	"context"
	"fmt"
)

// row is a comparison of two sides.
type row struct {
	name    string // for -only
	a, b    side
	metrics []metric // what a sample's values are; each becomes a line of the table
	rounds  int      // the most that make sense, 0 for any number
}

// side is one of the two that a row compares. Open starts what it needs, on the lab's
// account; the sampler measures it once, for the lab's interval if that has a meaning,
// and returns a value for each of the row's metrics.
type side struct {
	name string
	open func(ctx context.Context, l *lab) (sampler, error)
}

type sampler func(ctx context.Context) ([]float64, error)

// metric is what one value of a sample means.
type metric struct {
	name string
	unit string
	aim  aim
}

// aim is what a metric shall reach. The zero aim is none: the metric is there for
// information.
type aim struct {
	text string
	met  func(a, ratio float64) bool
}

// ratioAtLeast is an aim for A divided by B, in the median.
func ratioAtLeast(want float64) aim {
	return aim{fmt.Sprintf("A/B ≥ %g", want), func(_, ratio float64) bool { return ratio >= want }}
}

// atMost is an aim for A alone, in the median.
func atMost(want float64) aim {
	return aim{fmt.Sprintf("A ≤ %g", want), func(a, _ float64) bool { return a <= want }}
}

// line is a line of the table: what was measured of one metric.
type line struct {
	row    row
	metric metric
	a, b   []float64 // by round
}

// measureAll measures the rows one after the other. What was measured before an error
// comes back with it.
func (l *lab) measureAll(ctx context.Context, rows []row) ([]line, error) {
	var all []line
	for _, r := range rows {
		fmt.Fprintln(l.progress, r.name)
		lines, err := l.measure(ctx, r)
		if err != nil {
			return all, fmt.Errorf("%s: %w", r.name, err)
		}
		all = append(all, lines...)
	}
	return all, nil
}

// measure measures both sides of the row in turn, A B A B, and stops what it has started.
func (l *lab) measure(ctx context.Context, r row) ([]line, error) {
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

// limit is how many rounds the row is measured if it is asked for some.
func (r row) limit(rounds int) int {
	if r.rounds > 0 {
		return min(r.rounds, rounds)
	}
	return rounds
}

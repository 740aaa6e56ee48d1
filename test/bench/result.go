package main

// The results of workers.

import (
	"fmt"
	"slices"
	"strings"
)

// result is the result of one or several workers, in microseconds. peers/load.go
// describes its fields.
type result struct {
	Took     int64
	Held     int64
	Waits    [][]int64
	Stuck    []int64
	Failed   int64
	Overlaps int64
}

func (r *result) add(more result) {
	r.Took = max(r.Took, more.Took)
	r.Held += more.Held
	r.Waits = append(r.Waits, more.Waits...)
	r.Stuck = append(r.Stuck, more.Stuck...)
	r.Failed += more.Failed
	r.Overlaps += more.Overlaps
}

// grants returns the number of grants.
func (r *result) grants() int {
	n := 0
	for _, waits := range r.Waits {
		n += len(waits)
	}
	return n
}

// perSecond returns the number of locks per second.
func (r *result) perSecond() float64 { return 1e6 * float64(r.grants()) / float64(r.Took) }

// handoff returns how many microseconds the lock was free between two holders, on
// average.
func (r *result) handoff() float64 { return float64(r.Took-r.Held) / float64(r.grants()) }

// wait returns the quantile p of all waits in milliseconds, including those of stuck
// callers.
func (r *result) wait(p float64) float64 {
	all := slices.Sorted(slices.Values(slices.Concat(slices.Concat(r.Waits...), r.Stuck)))
	if len(all) == 0 {
		return 0
	}
	return float64(all[int(p*float64(len(all)-1))]) / 1e3
}

// spread returns the ratio of the most grants of a caller to the least.
func (r *result) spread() float64 {
	least, most := len(r.Waits[0]), len(r.Waits[0])
	for _, waits := range r.Waits {
		least, most = min(least, len(waits)), max(most, len(waits))
	}
	return float64(most) / float64(least) // +Inf if a caller had none
}

// failures lists the counts of what must not happen; empty if all are zero.
func (r *result) failures() string {
	var all []string
	add := func(n int, what string) {
		if n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(int(r.Overlaps), "overlaps")
	add(len(r.Stuck), "stuck")
	add(int(r.Failed), "failed")
	return strings.Join(all, ", ")
}

package main

// What came out of workers.

import (
	"fmt"
	"slices"
	"strings"
)

// result is what came out of a worker, or of several, in microseconds. It is explained in
// peers/load.go.
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

// grants is how often a lock was taken.
func (r *result) grants() int {
	n := 0
	for _, waits := range r.Waits {
		n += len(waits)
	}
	return n
}

// perSecond is how many locks were taken and given back in a second.
func (r *result) perSecond() float64 { return 1e6 * float64(r.grants()) / float64(r.Took) }

// handOver is how many microseconds nobody had the lock between two who had it, on
// average.
func (r *result) handOver() float64 { return float64(r.Took-r.Held) / float64(r.grants()) }

// wait is how many milliseconds the part p of all waits took at most, those included that
// led to nothing.
func (r *result) wait(p float64) float64 {
	all := slices.Sorted(slices.Values(slices.Concat(slices.Concat(r.Waits...), r.Stuck)))
	if len(all) == 0 {
		return 0
	}
	return float64(all[int(p*float64(len(all)-1))]) / 1e3
}

// spread is how many grants the luckiest caller had for each of the unluckiest's.
func (r *result) spread() float64 {
	least, most := len(r.Waits[0]), len(r.Waits[0])
	for _, waits := range r.Waits {
		least, most = min(least, len(waits)), max(most, len(waits))
	}
	return float64(most) / float64(least) // +Inf if somebody had none
}

// trouble tells what must not happen.
func (r *result) trouble() string {
	var all []string
	tell := func(n int, what string) {
		if n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n, what))
		}
	}
	tell(int(r.Overlaps), "overlaps")
	tell(len(r.Stuck), "stuck")
	tell(int(r.Failed), "failed")
	return strings.Join(all, ", ")
}

package linearizability

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// tail is the number of operations that a report of an explanation shows.
const tail = 12

// explain describes where the longest explanation of a group ends, and which operations
// could not come next.
func explain(model porcupine.Model, g group, calls []porcupine.Operation, info porcupine.LinearizationInfo) string {
	order := longest(info)
	var b strings.Builder
	fmt.Fprintf(&b, "%d operations on %s: found no order that the contract allows. ", len(g.ops), strings.Join(baseNames(g.keys), ", "))
	fmt.Fprintf(&b, "The longest partial order that it allows has %d of %d steps and ends with\n", len(order), len(calls))
	s := model.Init()
	for i, call := range order {
		_, s = model.Step(s, call.Input, nil)
		if i >= len(order)-tail {
			st := call.Input.(step)
			fmt.Fprintf(&b, "%s\n\t\t-> %s\n", line(st.Operation, st.String()), model.DescribeState(s))
		}
	}
	b.WriteString("which none of these can follow:\n")
	for _, st := range candidates(calls, order) {
		b.WriteString(line(st.Operation, st.String()) + "\n")
	}
	return b.String()
}

// longest returns the longest partial order that was found.
func longest(info porcupine.LinearizationInfo) (order []porcupine.Operation) {
	for _, part := range info.PartialLinearizationsOperations() {
		for _, o := range part {
			if len(o) > len(order) {
				order = o
			}
		}
	}
	return order
}

// candidates returns the steps that may follow an order by their times: the calls that
// began before any other remaining call returned.
func candidates(calls, order []porcupine.Operation) []step {
	rest := slices.DeleteFunc(slices.Clone(calls), func(c porcupine.Operation) bool {
		return slices.ContainsFunc(order, func(o porcupine.Operation) bool {
			a, b := c.Input.(step), o.Input.(step)
			return a.Operation == b.Operation && a.retry == b.retry
		})
	})
	var steps []step
	for _, c := range rest {
		late := slices.ContainsFunc(rest, func(o porcupine.Operation) bool { return o.Return < c.Call })
		if !late {
			steps = append(steps, c.Input.(step))
		}
	}
	return steps
}

// line formats an operation with its times.
func line(op *Operation, text string) string {
	return fmt.Sprintf("\t#%d worker %d  %v to %v  %s", op.Before, op.Worker, micros(op.Call), micros(op.Return), text)
}

func micros(d time.Duration) time.Duration { return d.Round(time.Microsecond) }

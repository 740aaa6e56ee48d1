package linearizability

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// ErrUndecided is returned by [Rules.Check] when the search for an order reaches its time
// limit.
var ErrUndecided = errors.New("history: search for an order reached its time limit")

// A Violation reports a history that the contract does not allow.
type Violation struct {
	text     string
	model    porcupine.Model
	info     porcupine.LinearizationInfo
	drawable bool // the violation involves more than one result
}

// Error describes where the explanation of the history ends.
func (v *Violation) Error() string { return "history: " + v.text }

// Draw writes the history as a web page to a file. It does nothing for a violation that a
// single result shows.
func (v *Violation) Draw(file string) error {
	if !v.drawable {
		return nil
	}
	return porcupine.VisualizePath(v.model, v.info, file)
}

// Check returns nil if the contract allows the history, and otherwise a [*Violation]. It
// returns [ErrUndecided] if the search exceeds the limit, which applies to each group of
// keys that a LockAll connects.
func (r Rules) Check(ops []Operation, limit time.Duration) error {
	for i := range ops {
		if err := r.checkAnswer(&ops[i]); err != nil {
			return &Violation{text: fmt.Sprintf("%v\n%s", err, line(&ops[i], ops[i].String()))}
		}
	}
	for _, g := range groups(ops) {
		if err := r.checkGroup(g, limit); err != nil {
			return err
		}
	}
	return nil
}

// group is a part of a history that can be checked independently of the rest.
type group struct {
	keys []string
	ops  []*Operation
}

// groups divides a history by its keys; the keys of one operation are in the same group.
func groups(ops []Operation) []group {
	var found []group
	for i := range ops {
		g := group{ops[i].Keys, []*Operation{&ops[i]}}
		found = slices.DeleteFunc(found, func(other group) bool {
			shared := overlap(other.keys, g.keys)
			if shared {
				g.keys = slices.Compact(slices.Sorted(slices.Values(slices.Concat(g.keys, other.keys))))
				g.ops = append(other.ops, g.ops...)
			}
			return shared
		})
		found = append(found, g)
	}
	for _, g := range found {
		slices.SortFunc(g.ops, func(a, b *Operation) int { return int(a.Before - b.Before) })
	}
	return found
}

func (r Rules) checkGroup(g group, limit time.Duration) error {
	if len(g.keys) > maxKeys {
		return fmt.Errorf("history: a group must have at most %d keys, got %d", maxKeys, len(g.keys))
	}
	model, calls := r.model(), r.calls(g)
	result := porcupine.CheckOperationsTimeout(model, calls, limit)
	if result == porcupine.Ok {
		return nil
	}
	// The verbose search has the same result and also returns the partial orders.
	_, info := porcupine.CheckOperationsVerbose(model, calls, limit)
	if result == porcupine.Unknown {
		return fmt.Errorf("%w: %v. %s", ErrUndecided, limit, explain(model, g, calls, info))
	}
	return &Violation{text: explain(model, g, calls, info), model: model, info: info, drawable: true}
}

// calls converts the group to porcupine's operations. The outcome is part of the input,
// because a step depends on both.
func (r Rules) calls(g group) []porcupine.Operation {
	var calls []porcupine.Operation
	for _, s := range r.steps(g.ops, g.keys) {
		calls = append(calls, porcupine.Operation{ClientId: s.Worker, Input: s, Call: s.Before, Return: s.after})
	}
	return calls
}

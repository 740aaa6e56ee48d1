// Package parallel calls a function for many elements.
package parallel

import (
	"errors"
	"sync"
)

// maxCalls is the number of concurrent calls to a store for one user, or one round of
// renewals.
const maxCalls = 16

// ForEach calls fn for each element, at most maxCalls at the same time. It waits
// for all calls and returns their errors.
func ForEach[T any](all []T, fn func(T) error) error {
	errs := make([]error, len(all))
	slots := make(chan struct{}, maxCalls)
	var calls sync.WaitGroup
	for i, element := range all {
		slots <- struct{}{}
		calls.Go(func() {
			defer func() { <-slots }()
			errs[i] = fn(element)
		})
	}
	calls.Wait()
	return errors.Join(errs...)
}

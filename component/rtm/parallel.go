package rtm

import (
	"errors"
	"sync"
)

// maxParallel is the number of concurrent calls to a store for one user, or one round of
// renewals.
const maxParallel = 16

// inParallel calls fn for each element, at most maxParallel at the same time. It waits
// for all calls and returns their errors.
func inParallel[T any](all []T, fn func(T) error) error {
	errs := make([]error, len(all))
	slots := make(chan struct{}, maxParallel)
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

// drain closes a buffered channel and returns the elements in its buffer.
func drain[T any](c chan T) []T {
	close(c)
	var all []T
	for element := range c {
		all = append(all, element)
	}
	return all
}

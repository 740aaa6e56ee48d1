package rtm

import (
	"errors"
	"sync"
)

// atOnce is how many calls for one user, or one round of renewals, a store gets at once.
const maxParallel = 16

// inParallel calls fn for each of all, some at once, waits for them, and returns their
// errors.
func inParallel[T any](all []T, fn func(T) error) error {
	errs := make([]error, len(all))
	turns := make(chan struct{}, maxParallel)
	var working sync.WaitGroup
	for i, one := range all {
		turns <- struct{}{}
		working.Go(func() {
			defer func() { <-turns }()
			errs[i] = fn(one)
		})
	}
	working.Wait()
	return errors.Join(errs...)
}

// drained returns what is in a channel that nobody sends to any more.
func drain[T any](c chan T) []T {
	close(c)
	var all []T
	for one := range c {
		all = append(all, one)
	}
	return all
}

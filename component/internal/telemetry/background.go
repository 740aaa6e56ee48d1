package telemetry

import (
	"context"
	"sync"
)

// background runs fn until stop is called, which ends its ctx and waits for it.
func runInBackground(fn func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { fn(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

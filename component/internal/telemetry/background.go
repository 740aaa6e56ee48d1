package telemetry

import (
	"context"
	"sync"
)

// runInBackground runs fn in a goroutine until stop is called. stop cancels fn's ctx and
// waits until fn has returned.
func runInBackground(fn func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { fn(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// Package sleep waits for a duration or until a context ends.
package sleep

import (
	"context"
	"time"
)

// For pauses for d and returns true. It returns false as soon as ctx has ended.
func For(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

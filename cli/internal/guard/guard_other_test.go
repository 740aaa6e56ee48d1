//go:build !linux

package guard

import (
	"testing"
	"time"
)

// awaitIgnored waits until the process ignores signals. Only Linux reports that, so it
// waits for a second.
func awaitIgnored(*testing.T, int) { time.Sleep(time.Second) }

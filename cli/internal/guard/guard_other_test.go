//go:build !linux

package guard

import (
	"testing"
	"time"
)

// awaitIgnored waits until the process ignores signals, which only Linux shows.
func awaitIgnored(*testing.T, int) { time.Sleep(time.Second) }

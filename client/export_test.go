package client

import "time"

// Sleep lets it seem that the machine has slept for d, which the monotonic clock does not
// count.
func (l *Lease) Sleep(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wallExpires = l.wallExpires.Add(-d)
}

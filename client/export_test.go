package client

import "time"

// Sleep simulates that the machine slept for d: only the wall clock advances.
func (l *Lease) Sleep(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wallExpires = l.wallExpires.Add(-d)
}

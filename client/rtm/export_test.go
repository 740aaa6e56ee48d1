package rtm

import "time"

// Sleep lets it seem that the machine has slept for d, which the monotonic clock does not
// count.
func (l *Lock) Sleep(d time.Duration) {
	l.user.mu.Lock()
	defer l.user.mu.Unlock()
	l.wallValidUntil = l.wallValidUntil.Add(-d)
}

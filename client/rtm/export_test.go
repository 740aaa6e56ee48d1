package rtm

import "time"

// Sleep simulates that the machine slept for d: only the wall clock advances.
func (l *Lock) Sleep(d time.Duration) {
	l.user.mu.Lock()
	defer l.user.mu.Unlock()
	l.wallValidUntil = l.wallValidUntil.Add(-d)
}

package rtm

import "time"

// tombstoneTTL is the least time for which the end of a grant is remembered. For some
// seconds Mortise may still report that the user has the grant, until its storage
// notifies it.
const tombstoneTTL = time.Minute

// tombstones are the grants whose end the server has recently reported: the last rev of
// each lock.
type tombstones struct {
	recent, earlier map[lockID]uint64
	recentSince     time.Time // when recent began
}

func (e *tombstones) add(id lockID, rev uint64) {
	if now := time.Now(); now.Sub(e.recentSince) > tombstoneTTL {
		e.recent, e.earlier, e.recentSince = map[lockID]uint64{}, e.recent, now
	}
	e.recent[id] = max(e.recent[id], rev)
}

// has reports whether the grant has ended, or a later one of the same lock.
func (e *tombstones) has(d Detail) bool { return d.Rev <= max(e.recent[d.id()], e.earlier[d.id()]) }

// endConfirmed ends the lock after the server has reported the end of its grant. It does
// nothing if l is nil.
func (u *User) endConfirmed(l *Lock, cause error) {
	if l == nil {
		return
	}
	u.mu.Lock()
	u.tombstones.add(l.id(), l.Rev)
	u.mu.Unlock()
	u.endLockOnce(l, cause)
}

// notEnded reports whether the user may still have the grant.
func (u *User) notEnded(d Detail) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.tombstones.has(d)
}

package rtm

import "time"

// tombstoneTTL is how long it is remembered at least that a grant has ended. Mortise may go on
// saying for some seconds that the user has it, until its storage tells.
const tombstoneTTL = time.Minute

// tombstones are the grants whose end the server has told a short time ago: of each lock the
// last one's rev.
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

// has tells whether the grant has ended, or a later one of the same lock.
func (e *tombstones) has(d Detail) bool { return d.Rev <= max(e.recent[d.id()], e.earlier[d.id()]) }

// endConfirmed ends the lock, if it is one and has not ended: the server has told that its grant
// is no more.
func (u *User) endConfirmed(l *Lock, cause error) {
	if l == nil {
		return
	}
	u.mu.Lock()
	u.tombstones.add(l.id(), l.Rev)
	u.mu.Unlock()
	u.endLockOnce(l, cause)
}

// notEnded tells whether the user may have what a row says that he has.
func (u *User) notEnded(d Detail) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.tombstones.has(d)
}

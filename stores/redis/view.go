package redis

import (
	"container/heap"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

const (
	// recheckInterval is after how long a report about a lock whose TTL is over is
	// requested again.
	recheckInterval = time.Second
	// maxReportKeys is how many locks are requested in one report.
	maxReportKeys = 256
	// maxWait is how long a view waits that expects no lock to expire.
	maxWait = time.Minute
)

// view is the state as its watcher knows it: snapshot and events applied. It is used by
// one goroutine.
type view struct {
	handle    func(stores.Event) error
	handleErr error // what handle has returned

	held          map[string]*heldLock
	declared      map[string]declaration
	expiries      expiries
	pendingChecks map[uint64][]string // the keys of requested reports, by number
	lastReport    uint64              // the number of the last report
	watchedSince  string              // as in report
	revision      uint64              // of the last event
	published     bool                // whether a snapshot was passed on
	loading       bool                // whether a snapshot is being prepared
}

// heldLock is a lock and the time at which to check whether it has expired.
type heldLock struct {
	stores.LockInfo
	at    time.Time
	index int // in expiries
}

// declaration is a declared lock.
type declaration struct {
	ttl      time.Duration
	revision uint64 // at which it was declared, or a later one
}

// reset forgets everything. No event is passed on until publishSnapshot.
func (v *view) reset(since string) {
	v.held, v.expiries, v.pendingChecks = map[string]*heldLock{}, nil, map[uint64][]string{}
	v.declared = map[string]declaration{}
	v.watchedSince, v.loading = since, true
}

// publishSnapshot passes the snapshot on.
func (v *view) publishSnapshot() error {
	locks := make(map[string]stores.LockInfo, max(len(v.held), len(v.declared)))
	for key, d := range v.declared {
		locks[key] = stores.LockInfo{Key: key, DeclaredTTL: d.ttl}
	}
	for key, h := range v.held {
		l := h.LockInfo
		l.Remaining = max(time.Until(h.at), time.Millisecond)
		l.DeclaredTTL = locks[key].DeclaredTTL
		locks[key] = l
	}
	missed := v.published
	v.loading, v.published = false, true
	return v.emit(stores.Event{Kind: stores.EventSnapshot, Revision: v.revision, Locks: sorted(locks), Missed: missed})
}

// put replaces what is known about a lock's key.
func (v *view) put(l stores.LockInfo) {
	v.remove(l.Key)
	h := &heldLock{LockInfo: l, at: time.Now().Add(l.Remaining)}
	v.held[l.Key] = h
	heap.Push(&v.expiries, h)
}

func (v *view) remove(key string) {
	if h := v.held[key]; h != nil {
		delete(v.held, key)
		heap.Remove(&v.expiries, h.index)
	}
}

// apply applies a message, and passes the changes on.
func (v *view) apply(message any) error {
	switch m := message.(type) {
	case report:
		return v.applyReport(m)
	case stores.Event:
		return v.applyEvent(m)
	}
	return nil
}

func (v *view) applyEvent(e stores.Event) error {
	switch e.Kind {
	case stores.EventAcquired:
		return v.applyAcquired(e)
	case stores.EventDeclared:
		return v.applyDeclared(e)
	case stores.EventWithdrawn:
		return v.applyWithdrawn(e)
	}
	return v.applyEnd(e)
}

// applyAcquired applies a grant, unless the list has included it. If the view still has
// another holder, its lock has expired.
func (v *view) applyAcquired(e stores.Event) error {
	if h := v.held[e.Lock.Key]; h != nil && h.Token >= e.Lock.Token {
		return nil
	}
	if err := v.expireReplaced(e); err != nil {
		return err
	}
	v.put(e.Lock)
	return v.emit(e)
}

// expireReplaced passes on that a lock has expired, if an event about its key shows
// another holder or none.
func (v *view) expireReplaced(e stores.Event) error {
	h := v.held[e.Lock.Key]
	if h == nil || h.Token >= e.Revision || h.Token == e.Lock.Token && h.Owner == e.Lock.Owner {
		return nil
	}
	v.remove(e.Lock.Key)
	return v.emit(stores.Event{Kind: stores.EventExpired, Revision: e.Revision, Lock: h.LockInfo})
}

// applyEnd applies the end of a lock, unless the list has excluded it already.
func (v *view) applyEnd(e stores.Event) error {
	h := v.held[e.Lock.Key]
	if h == nil || h.Token != e.Lock.Token || h.Owner != e.Lock.Owner {
		return nil
	}
	v.remove(e.Lock.Key)
	return v.emit(e)
}

// applyDeclared applies a declaration, unless the list has included it. If the view still
// has another holder, its lock has expired.
func (v *view) applyDeclared(e stores.Event) error {
	if d, ok := v.declared[e.Lock.Key]; ok && d.revision >= e.Revision {
		return nil
	}
	if err := v.expireReplaced(e); err != nil {
		return err
	}
	v.declared[e.Lock.Key] = declaration{e.Lock.DeclaredTTL, e.Revision}
	return v.emit(e)
}

// applyWithdrawn applies a withdrawal, unless the list has excluded the declaration. If
// the view still has another holder, its lock has expired.
func (v *view) applyWithdrawn(e stores.Event) error {
	if err := v.expireReplaced(e); err != nil {
		return err
	}
	if h := v.held[e.Lock.Key]; h != nil && h.Token < e.Revision {
		v.remove(e.Lock.Key)
	}
	if d, ok := v.declared[e.Lock.Key]; !ok || d.revision > e.Revision {
		return nil
	}
	delete(v.declared, e.Lock.Key)
	return v.emit(e)
}

// applyReport applies a report about locks whose TTL was over: they were renewed or have
// expired.
func (v *view) applyReport(r report) error {
	if r.watchedSince != v.watchedSince {
		return errMessagesLost // there was a period without events
	}
	v.lastReport, v.revision = max(v.lastReport, r.number), max(v.revision, r.revision)
	found := map[string]stores.LockInfo{}
	for _, l := range r.locks {
		found[l.Key] = l
	}
	keys := v.pendingChecks[r.number]
	delete(v.pendingChecks, r.number)
	for _, key := range keys {
		if err := v.reconcile(key, found[key], r.revision); err != nil {
			return err
		}
	}
	return nil
}

// reconcile applies the current state of a key: a lock, or the zero Lock.
func (v *view) reconcile(key string, now stores.LockInfo, revision uint64) error {
	h := v.held[key]
	if h == nil {
		return nil
	}
	if now.Token == h.Token && now.Owner == h.Owner {
		v.put(now)
		return nil
	}
	v.remove(key)
	if err := v.emit(stores.Event{Kind: stores.EventExpired, Revision: revision, Lock: h.LockInfo}); err != nil || now.Key == "" {
		return err
	}
	v.put(now) // another program took it
	return v.emit(stores.Event{Kind: stores.EventAcquired, Revision: revision, Lock: now})
}

// emit passes an event on.
func (v *view) emit(e stores.Event) error {
	v.revision = max(v.revision, e.Revision)
	if v.loading {
		return nil
	}
	e.Revision = v.revision
	if v.handleErr = v.handle(e); v.handleErr != nil {
		return errHandler
	}
	return nil
}

// takeDue returns keys of locks whose TTL is over, and schedules another check of them.
func (v *view) takeDue(now time.Time) []string {
	var keys []string
	for len(v.expiries) > 0 && len(keys) < maxReportKeys && !v.expiries[0].at.After(now) {
		h := v.expiries[0]
		keys = append(keys, h.Key)
		h.at = now.Add(recheckInterval)
		heap.Fix(&v.expiries, 0)
	}
	return keys
}

// untilExpiry returns how long it takes until a lock may have expired.
func (v *view) untilExpiry() time.Duration {
	if len(v.expiries) == 0 {
		return maxWait
	}
	return time.Until(v.expiries[0].at) + time.Millisecond
}

// expiries is a heap of locks, the first to expire on top.
type expiries []*heldLock

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e expiries) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].index, e[j].index = i, j
}

// Push implements [heap.Interface].
func (e *expiries) Push(x any) {
	h := x.(*heldLock)
	h.index = len(*e)
	*e = append(*e, h)
}

// Pop implements [heap.Interface].
func (e *expiries) Pop() any {
	last := len(*e) - 1
	h := (*e)[last]
	*e = (*e)[:last]
	return h
}

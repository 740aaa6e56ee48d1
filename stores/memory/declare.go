package memory

import (
	"context"
	"time"

	"github.com/tidwall/btree"

	"github.com/mortise-lock/mortise/stores"
)

// declarations are the declared locks, which exist while they are free too. A lock is in
// one group only: to declare it in a second group fails with ErrDeclared.
type declarations struct {
	byKey  btree.Map[string, declaration]
	groups map[string]*btree.Set[string] // the keys of each group; none is empty
}

// declaration is the group and the TTL of a declared lock.
type declaration struct {
	group string
	ttl   time.Duration
}

func newDeclarations() declarations {
	return declarations{groups: map[string]*btree.Set[string]{}}
}

// Declare implements [stores.Declarer]. Declarations, like locks, are lost when the
// process ends.
func (s *Store) Declare(ctx context.Context, d stores.Declaration) error {
	return s.do(ctx, "declare", func() error { return s.table.declare(d) }, d.Key)
}

// Withdraw implements [stores.Declarer].
func (s *Store) Withdraw(ctx context.Context, group, key string) error {
	return s.do(ctx, "withdraw", func() error { return s.table.withdraw(group, key) }, key)
}

// Release implements [stores.Declarer].
func (s *Store) Release(ctx context.Context, key, owner string) error {
	return s.do(ctx, "release", func() error { return s.table.release(key, owner) }, key)
}

// Group implements [stores.Declarer].
func (s *Store) Group(ctx context.Context, group string) ([]stores.LockInfo, error) {
	return do(ctx, s, "group", func() ([]stores.LockInfo, error) { return s.table.group(group), nil }, group)
}

// add adds a declaration. It fails with ErrDeclared or ErrLimit.
func (d *declarations) add(one stores.Declaration) error {
	if _, ok := d.byKey.Get(one.Key); ok {
		return stores.ErrDeclared
	}
	keys, ok := d.groups[one.Group]
	if !ok {
		keys = &btree.Set[string]{}
	}
	if one.Limit > 0 && keys.Len() >= one.Limit {
		return stores.ErrLimit
	}
	d.byKey.Set(one.Key, declaration{one.Group, one.TTL})
	keys.Insert(one.Key)
	d.groups[one.Group] = keys
	return nil
}

// remove removes the declaration of key, which must exist.
func (d *declarations) remove(key string) {
	one, _ := d.byKey.Delete(key)
	keys := d.groups[one.group]
	if keys.Delete(key); keys.Len() == 0 {
		delete(d.groups, one.group)
	}
}

// get returns the declaration of key. It fails with ErrNotDeclared if the group has no
// such lock.
func (d *declarations) get(group, key string) (declaration, error) {
	one, ok := d.byKey.Get(key)
	if !ok || one.group != group {
		return declaration{}, stores.ErrNotDeclared
	}
	return one, nil
}

// ttl returns the TTL that key was declared with, or zero if it is not declared.
func (d *declarations) ttl(key string) time.Duration {
	one, _ := d.byKey.Get(key)
	return one.ttl
}

// declare adds a declaration and publishes it.
func (t *table) declare(d stores.Declaration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.declared.add(d)
	if err == nil {
		now := time.Now()
		t.publish(stores.EventDeclared, t.current(d.Key, now))
		t.grantNext(d.Key, now)
	}
	return err
}

// withdraw removes the declaration and ends the lock. Waiters whose request has the group
// fail; then the lock is granted to the next of the others.
func (t *table) withdraw(group, key string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := t.declared.get(group, key); err != nil {
		return err
	}
	for _, w := range t.waitQueue.members(key) {
		t.waitQueue.dismiss(w, stores.ErrNotDeclared)
	}
	now := time.Now()
	t.remove(t.current(key, now), stores.EventWithdrawn)
	t.declared.remove(key) // after the event was published, which contains the TTL
	t.grantNext(key, now)
	return nil
}

// group returns the locks of a group, sorted by key.
func (t *table) group(name string) []stores.LockInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys, ok := t.declared.groups[name]
	if !ok {
		return nil
	}
	now := time.Now()
	rows := make([]stores.LockInfo, 0, keys.Len())
	keys.Scan(func(key string) bool {
		l, err := t.heldByAny(key, now)
		if err != nil {
			l = &lock{key: key}
		}
		rows = append(rows, t.describe(l, now))
		return true
	})
	return rows
}

// current returns the lock of key, with only the key if it is free. It removes an expired
// lock; the caller calls grantNext then.
func (t *table) current(key string, now time.Time) *lock {
	l, ok := t.get(key)
	if ok && t.held(l, now) {
		return l
	}
	if ok {
		t.remove(l, stores.EventExpired)
	}
	return &lock{key: key}
}

// resolveDeclared sets the TTL of a request for a lock of a group to the declared one. It
// fails with ErrNotDeclared if the group has no such lock, and with ErrRepeated if the
// owner holds it or waits for it.
func (t *table) resolveDeclared(req *request, now time.Time) error {
	key := req.Keys[0]
	d, err := t.declared.get(req.group, key)
	if err != nil {
		return err
	}
	if _, err := t.heldBy(key, req.Owner, now); err == nil || t.waitQueue.has(key, req.Owner) {
		return stores.ErrRepeated
	}
	req.TTL = d.ttl
	return nil
}

// release releases the owner's lock, or cancels its wait for a lock of a group. An owner
// never holds a lock of a group and waits for it too: resolveDeclared refuses the second
// request, and a lock that has waiters is granted only to the first of them.
func (t *table) release(key, owner string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	l, err := t.heldBy(key, owner, now)
	switch {
	case err == nil:
		t.end(l, stores.EventReleased, now)
	case !t.cancelWait(key, owner, now):
		return err
	}
	return nil
}

// cancelWait ends the owner's wait for a lock of a group. It reports whether the owner
// waited.
func (t *table) cancelWait(key, owner string, now time.Time) bool {
	w, ok := t.waitQueue.members(key)[owner]
	if ok {
		t.waitQueue.dismiss(w, stores.ErrGaveUp)
		t.grantNext(key, now)
	}
	return ok
}

package memory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// lockState is the state of a lock according to a watcher.
type lockState struct {
	token    uint64        // zero if the lock is free
	declared time.Duration // the DeclaredTTL
}

// lockStates returns the states of the locks by key.
func lockStates(locks []stores.LockInfo) map[string]lockState {
	all := map[string]lockState{}
	for _, l := range locks {
		all[l.Key] = lockState{l.Token, l.DeclaredTTL}
	}
	return all
}

// replay applies the events in order and returns the state after them.
func replay(t *testing.T, events []stores.Event) map[string]lockState {
	t.Helper()
	var state map[string]lockState
	for _, e := range events {
		if e.Kind == stores.EventSnapshot {
			state = lockStates(e.Locks)
			continue
		}
		now, ok := state[e.Lock.Key].after(e)
		if !ok {
			t.Errorf("%v of %+v, which was %+v", e.Kind, e.Lock, state[e.Lock.Key])
		}
		if state[e.Lock.Key] = now; now == (lockState{}) {
			delete(state, e.Lock.Key)
		}
	}
	return state
}

// after returns the state after e, and whether e was possible.
func (c lockState) after(e stores.Event) (next lockState, ok bool) {
	switch e.Kind {
	case stores.EventAcquired:
		return lockState{e.Lock.Token, c.declared}, c.token == 0 && e.Lock.Token > 0
	case stores.EventDeclared:
		return lockState{c.token, e.Lock.DeclaredTTL}, c == lockState{e.Lock.Token, 0} && e.Lock.DeclaredTTL > 0
	case stores.EventWithdrawn:
		return lockState{}, c == lockState{e.Lock.Token, e.Lock.DeclaredTTL} && c.declared > 0
	}
	// Released, expired or revoked.
	return lockState{0, c.declared}, c.token == e.Lock.Token && c.token > 0
}

func TestWatch_EventsGiveState(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, NewProcess(), "locks", "")
			r := rand.New(rand.NewPCG(seed, 0))
			waiting, stopWaiting := context.WithCancel(t.Context())
			watching, stopWatching := context.WithCancel(t.Context())
			watchers := map[*eventRecorder]string{}
			for i := range 3000 {
				if i%500 == 0 {
					prefix := []string{"", "0", "1"}[r.IntN(3)]
					watchers[startWatch(watching, s, prefix)] = prefix
				}
				if err := randomOperation(waiting, s, r); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
			checkWatchers(t, s, watchers)
			stopWaiting()
			synctest.Wait()
			removeAll(t, s)
			checkWatchers(t, s, watchers)
			stopWatching()
			synctest.Wait()
			checkEmpty(t, s)
		})
	}
}

// randomOperation calls a random method for a random lock, or lets time pass. It returns
// an unexpected error.
func randomOperation(ctx context.Context, s *Store, r *rand.Rand) error {
	key, owner := fmt.Sprintf("%02x", r.IntN(32)), []string{"ann", "bob"}[r.IntN(2)]
	ttl, group := time.Duration(1+r.IntN(40))*time.Millisecond, key[:1]
	req := stores.Request{Key: key, Owner: owner, TTL: ttl}
	ofGroup := stores.Request{Key: key, Owner: owner, Group: group}
	var err error
	switch r.IntN(13) {
	case 0, 1:
		_, err = s.TryLock(ctx, req)
	case 2:
		go func() { _, _ = s.Lock(ctx, req) }()
	case 3:
		_, err = s.LockAll(ctx, stores.MultiRequest{Keys: []string{"00", "10", "1f"}, Owner: owner, TTL: ttl})
	case 4:
		_, err = s.Renew(ctx, req)
	case 5:
		err = s.Unlock(ctx, key, owner)
	case 6:
		err = s.Revoke(ctx, key, "")
	case 7:
		time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond)
	case 8, 9:
		err = s.Declare(ctx, stores.Declaration{Group: group, Key: key, TTL: ttl, Limit: 12})
	case 10:
		err = s.Withdraw(ctx, group, key)
	case 11:
		_, err = s.TryLock(ctx, ofGroup)
	case 12:
		go func() { _, _ = s.Lock(ctx, ofGroup) }()
	}
	return unexpectedError(err)
}

// unexpectedError returns err unless it is one that depends on the state of the lock.
func unexpectedError(err error) error {
	for _, expected := range []error{
		stores.ErrNotHeld, stores.ErrNotOwner, stores.ErrNotDeclared, stores.ErrDeclared, stores.ErrLimit, stores.ErrRepeated,
	} {
		if errors.Is(err, expected) {
			return nil
		}
	}
	return err
}

// checkWatchers checks that each watcher, given with its prefix, has the state that List
// returns, and that List and Group agree.
func checkWatchers(t *testing.T, s *Store, watchers map[*eventRecorder]string) {
	t.Helper()
	for w, prefix := range watchers {
		if got, want := w.state(t), lockStates(listOf(t, s, prefix)); !maps.Equal(got, want) {
			t.Errorf("the watcher of %q has the state %v, want %v", prefix, got, want)
		}
	}
	all := listOf(t, s, "")
	if !slices.IsSortedFunc(all, func(a, b stores.LockInfo) int { return strings.Compare(a.Key, b.Key) }) {
		t.Errorf("the list is not sorted: %v", all)
	}
	declared := slices.DeleteFunc(slices.Clone(all), func(l stores.LockInfo) bool { return l.DeclaredTTL == 0 })
	if groups := append(groupOf(t, s, "0"), groupOf(t, s, "1")...); !reflect.DeepEqual(groups, declared) {
		t.Errorf("the groups have %v, the list %v", groups, declared)
	}
	for _, l := range all {
		free := stores.LockInfo{Key: l.Key, DeclaredTTL: l.DeclaredTTL, Waiters: l.Waiters}
		if held := l.Owner != "" && l.Remaining > 0 && l.Token > 0; !held && !reflect.DeepEqual(l, free) {
			t.Errorf("%+v is neither held nor free", l)
		}
	}
}

// listOf returns the result of List.
func listOf(t *testing.T, s *Store, prefix string) []stores.LockInfo {
	t.Helper()
	locks, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	return locks
}

// groupOf returns the result of Group.
func groupOf(t *testing.T, s *Store, name string) []stores.LockInfo {
	t.Helper()
	locks, err := s.Group(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return locks
}

// removeAll withdraws every declared lock, from the group named by the first byte of its
// key, and revokes the others.
func removeAll(t *testing.T, s *Store) {
	t.Helper()
	for _, l := range listOf(t, s, "") {
		var err error
		if l.DeclaredTTL > 0 {
			err = s.Withdraw(t.Context(), l.Key[:1], l.Key)
		} else {
			err = s.Revoke(t.Context(), l.Key, "")
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// checkEmpty checks that the table has no locks, declarations, waiters and watchers.
func checkEmpty(t *testing.T, s *Store) {
	t.Helper()
	checkNoWaiters(t, s)
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	d := &s.table.declared
	if n := s.table.byKey.Len() + s.table.byExpiry.Len() + d.byKey.Len() + len(d.groups); n > 0 {
		t.Errorf("the table still has %d and %d locks, %d declarations and %d groups",
			s.table.byKey.Len(), s.table.byExpiry.Len(), d.byKey.Len(), len(d.groups))
	}
}

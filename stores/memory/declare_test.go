package memory

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// team is the group of these tests, and disk and gate are locks in it.
const team, disk, gate = "team|", "team|disk", "team|gate"

// declare declares a lock of the team with a TTL of an hour.
func declare(t *testing.T, s *Store, key string) {
	t.Helper()
	if err := s.Declare(t.Context(), stores.Declaration{Group: team, Key: key, TTL: time.Hour}); err != nil {
		t.Error(err)
	}
}

// withdraw withdraws a lock of the team.
func withdraw(t *testing.T, s *Store, key string) {
	t.Helper()
	if err := s.Withdraw(t.Context(), team, key); err != nil {
		t.Error(err)
	}
}

// memberRequest returns a request for a lock of the team.
func memberRequest(key, owner string) stores.Request {
	return stores.Request{Key: key, Owner: owner, Group: team}
}

// tryLockMember calls TryLock for a lock of the team and checks that it fails with want,
// or grants the lock if want is nil.
func tryLockMember(t *testing.T, s *Store, key, owner string, want error) stores.Grant {
	t.Helper()
	g, err := s.TryLock(t.Context(), memberRequest(key, owner))
	if !errors.Is(err, want) || g.Acquired != (want == nil) {
		t.Errorf("TryLock of %q by %q returned %+v, %v, want the error %v", key, owner, g, err, want)
	}
	return g
}

// lockMember starts a call that waits for a lock of the team, as startLock does.
func lockMember(ctx context.Context, s *Store, key, owner string) <-chan result {
	return startCall(func() (stores.Grant, error) { return s.Lock(ctx, memberRequest(key, owner)) })
}

func TestDeclare_Errors(t *testing.T) {
	s := open(t, NewProcess(), "locks", "")
	declare(t, s, disk)
	tryLockMember(t, s, disk, "ann", nil)
	once := func(_ stores.Grant, err error) error { return err }
	gone := open(t, NewProcess(), "locks", "")
	_ = gone.Close()
	_, closed := gone.Group(t.Context(), team)
	for _, row := range []struct {
		err  error
		want error
		text string
	}{
		{s.Declare(t.Context(), stores.Declaration{Group: team, Key: disk, TTL: time.Hour}), stores.ErrDeclared,
			`memory: declare "team|disk": lock is declared already`},
		{s.Declare(t.Context(), stores.Declaration{Group: "team", Key: disk, TTL: time.Hour}), stores.ErrDeclared,
			`memory: declare "team|disk": lock is declared already`},
		{s.Declare(t.Context(), stores.Declaration{Group: team, Key: disk, TTL: time.Hour, Limit: 1}), stores.ErrDeclared,
			`memory: declare "team|disk": lock is declared already`},
		{s.Declare(t.Context(), stores.Declaration{Group: team, Key: gate, TTL: time.Hour, Limit: 1}), stores.ErrLimit,
			`memory: declare "team|gate": group is full`},
		{s.Withdraw(t.Context(), team, gate), stores.ErrNotDeclared, `memory: withdraw "team|gate": lock is not declared`},
		{s.Withdraw(t.Context(), "team", disk), stores.ErrNotDeclared, `memory: withdraw "team|disk": lock is not declared`},
		{once(s.TryLock(t.Context(), memberRequest(gate, "bob"))), stores.ErrNotDeclared,
			`memory: try lock "team|gate": lock is not declared`},
		{once(s.Lock(t.Context(), memberRequest(gate, "bob"))), stores.ErrNotDeclared,
			`memory: lock "team|gate": lock is not declared`},
		{once(s.Lock(t.Context(), stores.Request{Key: disk, Owner: "bob", Group: "team"})), stores.ErrNotDeclared,
			`memory: lock "team|disk": lock is not declared`},
		{once(s.TryLock(t.Context(), memberRequest(disk, "ann"))), stores.ErrRepeated,
			`memory: try lock "team|disk": owner has the lock or waits for it already`},
		{closed, stores.ErrClosed, `memory: group "team|": store is closed`},
	} {
		if !errors.Is(row.err, row.want) || row.err.Error() != row.text {
			t.Errorf("the error is %v, want %s", row.err, row.text)
		}
	}
	if rows := groupOf(t, s, team); len(rows) != 1 || rows[0].Key != disk || rows[0].Owner != "ann" {
		t.Errorf("after these errors the team has %v", rows)
	}
}

func TestGroup_Separate(t *testing.T) {
	s := open(t, NewProcess(), "locks", "")
	for _, d := range []stores.Declaration{
		{Group: "a", Key: "ab2"}, {Group: "ab", Key: "ab3"}, {Group: "ab", Key: "ab1"}, {Group: "a", Key: "a"},
	} {
		d.TTL, d.Limit = time.Second, 2
		if err := s.Declare(t.Context(), d); err != nil {
			t.Error(err)
		}
	}
	tryLock(t, s, "ab15", "ann", time.Hour, true) // in no group
	want := func(keys ...string) (rows []stores.LockInfo) {
		for _, key := range keys {
			rows = append(rows, stores.LockInfo{Key: key, DeclaredTTL: time.Second})
		}
		return rows
	}
	for name, rows := range map[string][]stores.LockInfo{"a": want("a", "ab2"), "ab": want("ab1", "ab3"), "abc": nil} {
		if got := groupOf(t, s, name); !reflect.DeepEqual(got, rows) {
			t.Errorf("group %q has %v, want %v", name, got, rows)
		}
	}
	var keys []string
	for _, l := range listOf(t, s, "ab") {
		keys = append(keys, l.Key)
	}
	if got := fmt.Sprint(keys); got != "[ab1 ab15 ab2 ab3]" {
		t.Errorf("the list has %s", got)
	}
}

func TestDeclare_TTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		declare(t, s, disk)
		ann := tryLockMember(t, s, disk, "ann", nil)
		bob := lockMember(t.Context(), s, disk, "bob")
		want := stores.LockInfo{
			Key: disk, Owner: "ann", TTL: time.Hour, Remaining: time.Hour, Token: ann.Token, Waiters: 1, DeclaredTTL: time.Hour,
		}
		if rows := listOf(t, s, ""); !reflect.DeepEqual(rows, []stores.LockInfo{want}) {
			t.Errorf("the list has %+v, want %+v", rows, want)
		}
		if left := time.Until(ann.Expires); left != time.Hour || ann.TTL != time.Hour {
			t.Errorf("ann's grant expires in %v and has the TTL %v", left, ann.TTL)
		}
		time.Sleep(time.Hour - 1)
		checkWaiting(t, bob)
		time.Sleep(time.Nanosecond)
		if b := checkGranted(t, bob); b.Expires.Sub(b.at) != time.Hour || b.Token <= ann.Token {
			t.Errorf("bob's grant lasts %v, with token %d after %d", b.Expires.Sub(b.at), b.Token, ann.Token)
		}
	})
}

func TestDeclare_OutlivesReopening(t *testing.T) {
	p := NewProcess()
	s := open(t, p, "locks", "")
	declare(t, s, disk)
	declare(t, s, gate)
	tryLockMember(t, s, disk, "ann", nil)
	before := groupOf(t, s, team)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, p, "locks", "")
	after := groupOf(t, again, team)
	if len(after) != 2 || after[0].Token != before[0].Token || !reflect.DeepEqual(after[1], before[1]) {
		t.Errorf("the team has %v, and had %v", after, before)
	}
	tryLockMember(t, again, disk, "ann", stores.ErrRepeated)
	tryLockMember(t, again, gate, "bob", nil)
	withdraw(t, again, disk)
	withdraw(t, again, gate)
	checkEmpty(t, again)
}

func TestTryLock_RepeatedOwner(t *testing.T) {
	for _, row := range []struct {
		name   string
		before func(ctx context.Context, s *Store)
	}{
		{"holds it as a member", func(ctx context.Context, s *Store) { lockMember(ctx, s, disk, "ann") }},
		{"holds it without the group", func(ctx context.Context, s *Store) { startLock(ctx, s, "ann", nil, disk) }},
		{"waits as a member", func(ctx context.Context, s *Store) {
			startLock(ctx, s, "bob", nil, disk)
			lockMember(ctx, s, disk, "ann")
		}},
		{"waits as a member, among others", func(ctx context.Context, s *Store) {
			startLock(ctx, s, "bob", nil, disk)
			startLock(ctx, s, "cleo", nil, disk)
			lockMember(ctx, s, disk, "ann")
			lockMember(ctx, s, disk, "dan")
		}},
		{"waits without the group", func(ctx context.Context, s *Store) {
			startLock(ctx, s, "bob", nil, disk)
			startLock(ctx, s, "ann", nil, disk)
		}},
		{"waits for several locks, among others", func(ctx context.Context, s *Store) {
			startLock(ctx, s, "bob", nil, disk)
			lockMember(ctx, s, disk, "dan")
			startLock(ctx, s, "ann", nil, "free", disk)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, NewProcess(), "locks", "")
				declare(t, s, disk)
				declare(t, s, gate)
				ctx, leave := context.WithCancel(t.Context())
				row.before(ctx, s)
				tryLockMember(t, s, disk, "ann", stores.ErrRepeated)
				checkResult(t, lockMember(ctx, s, disk, "ann"), stores.ErrRepeated)
				tryLockMember(t, s, gate, "ann", nil) // another lock
				other := lockMember(ctx, s, disk, "eve")
				checkWaiting(t, other)
				leave()
				checkResult(t, other, context.Canceled)
				checkNoWaiters(t, s)
			})
		})
	}
}

func TestTryLock_OwnerOfExpiredLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		declare(t, s, disk)
		first := tryLockMember(t, s, disk, "ann", nil)
		time.Sleep(time.Hour)
		free := []stores.LockInfo{{Key: disk, DeclaredTTL: time.Hour}}
		if rows, all := groupOf(t, s, team), listOf(t, s, ""); !reflect.DeepEqual(rows, free) || !reflect.DeepEqual(all, free) {
			t.Errorf("the team has %+v and the list %+v, want %+v", rows, all, free)
		}
		if again := tryLockMember(t, s, disk, "ann", nil); again.Token <= first.Token {
			t.Errorf("token %d follows %d", again.Token, first.Token)
		}
	})
}

func TestUnlock_EndsWaitWithGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		declare(t, s, disk)
		tryLockMember(t, s, disk, "ann", nil)
		bob, cleo := lockMember(t.Context(), s, disk, "bob"), lockMember(t.Context(), s, disk, "cleo")
		unlock(t, s, disk, "bob")
		checkResult(t, bob, stores.ErrGaveUp)
		if err := s.Unlock(t.Context(), disk, "bob"); !errors.Is(err, stores.ErrNotOwner) {
			t.Errorf("the second Unlock of bob returned %v", err)
		}
		checkWaiting(t, cleo)
		bob = lockMember(t.Context(), s, disk, "bob") // at the end of the queue now
		unlock(t, s, disk, "ann")
		checkGranted(t, cleo)
		unlock(t, s, disk, "cleo")
		checkGranted(t, bob)
		checkNoWaiters(t, s)
	})
}

func TestUnlock_KeepsWaitWithoutGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		declare(t, s, disk)
		tryLockMember(t, s, disk, "ann", nil)
		bob := startLock(t.Context(), s, "bob", nil, disk)
		if err := s.Unlock(t.Context(), disk, "bob"); !errors.Is(err, stores.ErrNotOwner) {
			t.Errorf("Unlock of a waiter without a group returned %v", err)
		}
		checkWaiting(t, bob)
		unlock(t, s, disk, "ann")
		checkGranted(t, bob)
	})
}

func TestUnlock_EndedWaitGrantsNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProcess()
		late, s := open(t, p, "locks", "30s"), open(t, p, "locks", "")
		declare(t, late, disk) // allowed in the restart grace
		bob := lockMember(t.Context(), late, disk, "bob")
		cleo := lockMember(t.Context(), s, disk, "cleo") // bob came first
		checkWaiting(t, cleo)
		unlock(t, s, disk, "bob")
		checkResult(t, bob, stores.ErrGaveUp)
		checkGranted(t, cleo)
		checkNoWaiters(t, s)
	})
}

package memory

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// open opens the component name of p with the restartGrace.
func open(t *testing.T, p *Process, name, grace string) *Store {
	t.Helper()
	c := stores.Component{Name: name, Metadata: map[string]string{"restartGrace": grace}}
	s, err := p.Backend().Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*Store)
}

// tryLock checks that TryLock grants the lock or refuses it, and returns the token.
func tryLock(t *testing.T, s *Store, key, owner string, ttl time.Duration, granted bool) uint64 {
	t.Helper()
	g, err := s.TryLock(t.Context(), stores.Request{Key: key, Owner: owner, TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	if g.Acquired != granted {
		t.Fatalf("TryLock of %q by %q: acquired is %v, want %v", key, owner, g.Acquired, granted)
	}
	return g.Token
}

func TestRestartGrace_Refuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProcess()
		time.Sleep(10 * time.Second)
		s := open(t, p, "locks", "30s") // counted from the start of the process
		tryLock(t, s, "disk", "ann", time.Minute, false)
		time.Sleep(20*time.Second - time.Nanosecond)
		tryLock(t, s, "disk", "ann", time.Minute, false)
		time.Sleep(time.Nanosecond)
		tryLock(t, s, "disk", "ann", time.Minute, true)
		tryLock(t, s, "disk", "bob", time.Minute, false)
	})
}

func TestRestartGrace_NotRestartedByOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProcess()
		time.Sleep(time.Minute)
		tryLock(t, open(t, p, "locks", "30s"), "disk", "ann", time.Minute, true)
	})
}

func TestParseConfig(t *testing.T) {
	for _, row := range []struct {
		grace string
		want  string // the beginning of the error, or empty if there is none
	}{
		{"", ""},
		{"0", ""},
		{"90", ""},
		{"1m30s", ""},
		{"-1s", "memory: metadata key restartGrace: must not be negative"},
		{"soon", "memory: metadata key restartGrace: must be a duration"},
	} {
		c := stores.Component{Name: "locks", Metadata: map[string]string{"restartGrace": row.grace}}
		_, err := NewProcess().Backend().Open(t.Context(), c)
		if (err == nil) != (row.want == "") || err != nil && !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("restartGrace %q: %v, want %q", row.grace, err, row.want)
		}
	}
}

func TestReclaim_ExpiredLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		const perSecond = 100
		for i := range 50 * perSecond {
			tryLock(t, s, fmt.Sprintf("disk-%d", i), "ann", time.Second, true)
			time.Sleep(time.Second / perSecond)
			if n := s.table.byKey.Len(); n > perSecond+1 {
				t.Fatalf("the table has %d locks, %d are held", n, perSecond)
			}
		}
	})
}

func TestReclaim_Backlog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		const backlog = 1000
		for i := range backlog {
			tryLock(t, s, fmt.Sprintf("disk-%d", i), "ann", time.Second, true)
		}
		time.Sleep(time.Second)
		for range backlog / reclaimPerGrant {
			tryLock(t, s, "gate", "ann", time.Minute, s.table.byKey.Len() == backlog)
		}
		if byKey, byExpiry := s.table.byKey.Len(), s.table.byExpiry.Len(); byKey != 1 || byExpiry != 1 {
			t.Errorf("the table has %d and %d locks, 1 is held", byKey, byExpiry)
		}
	})
}

func TestTable_IndexesAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		for i := range 100 {
			tryLock(t, s, fmt.Sprintf("disk-%d", i%40), "ann", time.Duration(1+i%7)*time.Millisecond, true)
			req := stores.Request{Key: fmt.Sprintf("disk-%d", i%40), Owner: "ann", TTL: 9 * time.Millisecond}
			if _, err := s.Renew(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			all := stores.MultiRequest{Keys: []string{"a", "b"}, Owner: "ann", TTL: time.Millisecond}
			if g, err := s.LockAll(t.Context(), all); err != nil || !g.Acquired {
				t.Fatal(g, err)
			}
			time.Sleep(time.Millisecond)
			if byKey, byExpiry := s.table.byKey.Len(), s.table.byExpiry.Len(); byKey != byExpiry {
				t.Fatalf("byKey has %d locks, byExpiry %d", byKey, byExpiry)
			}
		}
	})
}

func TestToken_GrowsAcrossRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last uint64
		for range 3 {
			token := tryLock(t, open(t, NewProcess(), "locks", ""), "disk", "ann", time.Minute, true)
			if token <= last {
				t.Errorf("token %d of the next process follows %d", token, last)
			}
			last = token
			time.Sleep(time.Millisecond) // a process does not start faster
		}
	})
}

func TestToken_FitsJSONNumber(t *testing.T) {
	s := open(t, NewProcess(), "locks", "")
	if token := tryLock(t, s, "disk", "ann", time.Minute, true); token >= 1<<53 {
		t.Errorf("token %d is not below 2^53", token)
	}
}

func TestProcess_SharesLocksByName(t *testing.T) {
	p := NewProcess()
	tryLock(t, open(t, p, "locks", ""), "disk", "ann", time.Minute, true)
	tryLock(t, open(t, p, "locks", ""), "disk", "bob", time.Minute, false)
	tryLock(t, open(t, p, "others", ""), "disk", "bob", time.Minute, true)
	tryLock(t, open(t, NewProcess(), "locks", ""), "disk", "bob", time.Minute, true)
}

func TestProcess_LocksOutliveReopening(t *testing.T) {
	p := NewProcess()
	s := open(t, p, "locks", "")
	tryLock(t, s, "disk", "ann", time.Minute, true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, p, "locks", "")
	tryLock(t, again, "disk", "bob", time.Minute, false)
	if err := again.Unlock(t.Context(), "disk", "ann"); err != nil {
		t.Error(err)
	}
}

func TestTable_CopiesMetadata(t *testing.T) {
	s := open(t, NewProcess(), "locks", "")
	md := map[string]string{"host": "a"}
	g, err := s.TryLock(t.Context(), stores.Request{Key: "disk", Owner: "ann", TTL: time.Minute, Metadata: md})
	if err != nil || !g.Acquired {
		t.Fatal(g, err)
	}
	md["host"] = "b"
	for range 2 {
		locks, err := s.List(t.Context(), "")
		if err != nil || len(locks) != 1 || locks[0].Metadata["host"] != "a" {
			t.Fatal(locks, err)
		}
		locks[0].Metadata["host"] = "c"
	}
}

func TestUnlock_EmptyOwner(t *testing.T) {
	s := open(t, NewProcess(), "locks", "")
	tryLock(t, s, "disk", "ann", time.Minute, true)
	if err := s.Unlock(t.Context(), "disk", ""); !errors.Is(err, stores.ErrNotOwner) {
		t.Errorf("Unlock without an owner returned %v", err)
	}
}

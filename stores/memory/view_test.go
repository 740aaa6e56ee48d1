package memory

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// looks are the calls that look at all locks under a prefix.
var looks = []struct {
	name string
	look func(ctx context.Context, s *Store, prefix string) ([]stores.LockInfo, error)
}{
	{"List", func(ctx context.Context, s *Store, prefix string) ([]stores.LockInfo, error) {
		return s.List(ctx, prefix)
	}},
	{"Watch", func(ctx context.Context, s *Store, prefix string) (locks []stores.LockInfo, err error) {
		seen := errors.New("seen")
		if err = s.Watch(ctx, prefix, func(e stores.Event) error { locks = e.Locks; return seen }); errors.Is(err, seen) {
			err = nil
		}
		return locks, err
	}},
}

func TestNobodyWaitsForALookAtManyLocks(t *testing.T) {
	const many, rounds = 100_000, 5 // other work on the machine may spoil some of them
	s := open(t, NewProcess(), "locks", "")
	for i := range many {
		take(t, s, fmt.Sprintf("disk-%06d", i), "ann", time.Hour, true)
	}
	for _, row := range looks {
		t.Run(row.name, func(t *testing.T) {
			var worst []string
			for range rounds {
				began, took := make(chan struct{}), make(chan time.Duration, 1)
				go func() {
					start := time.Now()
					close(began)
					if locks, err := row.look(t.Context(), s, ""); err != nil || len(locks) < many {
						t.Errorf("%d locks, %v", len(locks), err)
					}
					took <- time.Since(start)
				}()
				<-began
				longest := longestCall(t, s, took)
				look := <-took
				if longest < look/2 {
					return
				}
				worst = append(worst, fmt.Sprintf("%v of %v", longest, look))
			}
			t.Errorf("a TryLock took %v", worst)
		})
	}
}

// longestCall takes and releases a lock until done has an element, and returns how long
// it took at most.
func longestCall(t *testing.T, s *Store, done <-chan time.Duration) (longest time.Duration) {
	for len(done) == 0 {
		start := time.Now()
		take(t, s, "gate", "bob", time.Hour, true)
		release(t, s, "gate", "bob")
		longest = max(longest, time.Since(start))
	}
	return longest
}

func TestALookTellsHowManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		for i := range countBatch + 1 {
			take(t, s, fmt.Sprintf("disk-%04d", i), "ann", time.Hour, true)
		}
		for _, key := range []string{"disk-0000", fmt.Sprintf("disk-%04d", countBatch)} {
			waits(t, ask(t.Context(), s, "bob", nil, key))
		}
		for _, row := range looks {
			locks, err := row.look(t.Context(), s, "disk")
			if err != nil || locks[0].Waiters != 1 || locks[1].Waiters != 0 || locks[countBatch].Waiters != 1 {
				t.Errorf("%s: %v, %+v", row.name, err, locks)
			}
		}
	})
}

// Somebody goes from one lock to another, and takes the next before he leaves the last.
// Who looked at one lock after the other while that changes might see him nowhere; and
// the times of a lock that is being renewed belong together.
func TestALookIsAtOneMoment(t *testing.T) {
	const disks, steps = 3000, 3000
	s := open(t, NewProcess(), "locks", "")
	for i := range disks {
		take(t, s, fmt.Sprintf("disk-%04d", i), "ann", time.Hour, true)
	}
	if err := s.Declare(t.Context(), stores.Declaration{Group: "disk", Key: "disk", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	take(t, s, "disk-0000/side", "bob", time.Hour, true) // before the first look
	done := make(chan struct{})
	var others sync.WaitGroup
	for _, row := range looks {
		others.Go(func() {
			for ended(t.Context(), done) == nil {
				locks, err := row.look(t.Context(), s, "disk")
				if problem := walker(locks); err != nil || problem != "" {
					t.Errorf("%s: %v %s", row.name, err, problem)
					return
				}
			}
		})
	}
	walk(t, s, disks, steps)
	close(done)
	others.Wait()
}

// walk lets bob, who holds the first disk's side entrance, take one after the other, and
// ann renew the disks.
func walk(t *testing.T, s *Store, disks, steps int) {
	at := "disk-0000/side"
	for range steps {
		disk := fmt.Sprintf("disk-%04d", rand.IntN(disks))
		ttl := time.Duration(1+rand.IntN(100)) * time.Hour
		if _, err := s.Renew(t.Context(), stores.Request{Key: disk, Owner: "ann", TTL: ttl}); err != nil {
			t.Error(err)
		}
		if next := disk + "/side"; next != at {
			take(t, s, next, "bob", time.Hour, true)
			release(t, s, at, "bob")
			at = next
		}
	}
}

// walker tells what is wrong with a look at the disks, or nothing.
func walker(locks []stores.LockInfo) string {
	bobs := 0
	for _, l := range locks {
		if strings.HasSuffix(l.Key, "/side") {
			bobs++
		}
		if off := l.TTL - l.Remaining; l.Owner == "ann" && (off < 0 || off > time.Hour/2) {
			return fmt.Sprintf("%s has a TTL of %v, and %v are left", l.Key, l.TTL, l.Remaining)
		}
	}
	if bobs < 1 || bobs > 2 || locks[0].Key != "disk" || locks[0].DeclaredTTL != time.Hour {
		return fmt.Sprintf("bob is at %d disks, the first is %+v", bobs, locks[0])
	}
	return ""
}

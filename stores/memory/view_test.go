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

// readers are the calls that read all locks under a prefix.
var readers = []struct {
	name string
	read func(ctx context.Context, s *Store, prefix string) ([]stores.LockInfo, error)
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

func TestList_DoesNotBlock(t *testing.T) {
	const many, rounds = 100_000, 5 // other processes may spoil some of them
	s := open(t, NewProcess(), "locks", "")
	for i := range many {
		tryLock(t, s, fmt.Sprintf("disk-%06d", i), "ann", time.Hour, true)
	}
	for _, row := range readers {
		t.Run(row.name, func(t *testing.T) {
			var worst []string
			for range rounds {
				began, duration := make(chan struct{}), make(chan time.Duration, 1)
				go func() {
					start := time.Now()
					close(began)
					if locks, err := row.read(t.Context(), s, ""); err != nil || len(locks) < many {
						t.Errorf("%d locks, %v", len(locks), err)
					}
					duration <- time.Since(start)
				}()
				<-began
				longest := longestCall(t, s, duration)
				reading := <-duration
				if longest < reading/2 {
					return
				}
				worst = append(worst, fmt.Sprintf("%v of %v", longest, reading))
			}
			t.Errorf("TryLock took too long in each round: %v", worst)
		})
	}
}

// longestCall acquires and releases a lock until done has an element, and returns the
// longest time that this took.
func longestCall(t *testing.T, s *Store, done <-chan time.Duration) (longest time.Duration) {
	for len(done) == 0 {
		start := time.Now()
		tryLock(t, s, "gate", "bob", time.Hour, true)
		unlock(t, s, "gate", "bob")
		longest = max(longest, time.Since(start))
	}
	return longest
}

func TestList_CountsWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, NewProcess(), "locks", "")
		for i := range countBatch + 1 {
			tryLock(t, s, fmt.Sprintf("disk-%04d", i), "ann", time.Hour, true)
		}
		for _, key := range []string{"disk-0000", fmt.Sprintf("disk-%04d", countBatch)} {
			checkWaiting(t, startLock(t.Context(), s, "bob", nil, key))
		}
		for _, row := range readers {
			locks, err := row.read(t.Context(), s, "disk")
			if err != nil || locks[0].Waiters != 1 || locks[1].Waiters != 0 || locks[countBatch].Waiters != 1 {
				t.Errorf("%s: %v, %+v", row.name, err, locks)
			}
		}
	})
}

// Bob moves from lock to lock, and acquires the next one before releasing the last. A
// reader that does not read a snapshot could find bob nowhere, or mix the times of a lock
// before and after a renewal.
func TestList_Snapshot(t *testing.T) {
	const disks, steps = 3000, 3000
	s := open(t, NewProcess(), "locks", "")
	for i := range disks {
		tryLock(t, s, fmt.Sprintf("disk-%04d", i), "ann", time.Hour, true)
	}
	if err := s.Declare(t.Context(), stores.Declaration{Group: "disk", Key: "disk", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	tryLock(t, s, "disk-0000/side", "bob", time.Hour, true) // before the first read
	done := make(chan struct{})
	var reading sync.WaitGroup
	for _, row := range readers {
		reading.Go(func() {
			for ended(t.Context(), done) == nil {
				locks, err := row.read(t.Context(), s, "disk")
				if problem := checkMoves(locks); err != nil || problem != "" {
					t.Errorf("%s: %v %s", row.name, err, problem)
					return
				}
			}
		})
	}
	moveLock(t, s, disks, steps)
	close(done)
	reading.Wait()
}

// moveLock moves bob's lock from the side of the first disk to those of others, and
// renews ann's locks of the disks.
func moveLock(t *testing.T, s *Store, disks, steps int) {
	at := "disk-0000/side"
	for range steps {
		disk := fmt.Sprintf("disk-%04d", rand.IntN(disks))
		ttl := time.Duration(1+rand.IntN(100)) * time.Hour
		if _, err := s.Renew(t.Context(), stores.Request{Key: disk, Owner: "ann", TTL: ttl}); err != nil {
			t.Error(err)
		}
		if next := disk + "/side"; next != at {
			tryLock(t, s, next, "bob", time.Hour, true)
			unlock(t, s, at, "bob")
			at = next
		}
	}
}

// checkMoves returns the inconsistency in a list of the disks, or an empty string.
func checkMoves(locks []stores.LockInfo) string {
	bobs := 0
	for _, l := range locks {
		if strings.HasSuffix(l.Key, "/side") {
			bobs++
		}
		if off := l.TTL - l.Remaining; l.Owner == "ann" && (off < 0 || off > time.Hour/2) {
			return fmt.Sprintf("%s has the TTL %v and expires in %v", l.Key, l.TTL, l.Remaining)
		}
	}
	if bobs < 1 || bobs > 2 || locks[0].Key != "disk" || locks[0].DeclaredTTL != time.Hour {
		return fmt.Sprintf("bob holds %d locks, the first lock is %+v", bobs, locks[0])
	}
	return ""
}

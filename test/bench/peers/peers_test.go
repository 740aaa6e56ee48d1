package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fake are locks that are taken by what lock does.
func fake(lock func(ctx context.Context) (unlock func(), err error)) do {
	return func(ctx context.Context, _ string, held func()) error {
		unlock, err := lock(ctx)
		if err != nil {
			return err
		}
		held()
		unlock()
		return nil
	}
}

// slots are locks that so many can have at the same time.
func slots(n int) do {
	free := make(chan struct{}, n)
	return fake(func(ctx context.Context) (func(), error) {
		select {
		case free <- struct{}{}:
			return func() { <-free }, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
}

// once is a lock that is never given back.
func once() do {
	var taken sync.Once
	return fake(func(ctx context.Context) (func(), error) {
		free := false
		taken.Do(func() { free = true })
		if !free {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return func() {}, nil
	})
}

// failing is a lock that cannot be had.
func failing() do {
	return fake(func(context.Context) (func(), error) { return nil, errors.New("no") })
}

func sleep() { time.Sleep(time.Millisecond) }

func TestWhatCallersGoThroughIsTold(t *testing.T) {
	for _, row := range []struct {
		name                      string
		locks                     func() do
		overlaps, stuck, failures bool
	}{
		{"a lock is a lock", func() do { return slots(1) }, false, false, false},
		{"two at a time are seen", func() do { return slots(2) }, true, false, false},
		{"a lock that is never given back leaves the others stuck", once, false, true, false},
		{"a failure is told", failing, false, false, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			room := testRoom(t)
			synctest.Test(t, func(t *testing.T) {
				lock := row.locks() // made here, so that waiting for it is waiting in the bubble
				l := load{locks: []do{lock, lock, lock, lock}, hold: sleep, grace: time.Second, room: room}
				r := l.run(t.Context(), 100*time.Millisecond)
				if (r.Overlaps > 0) != row.overlaps || (len(r.Stuck) > 0) != row.stuck || (r.Failed > 0) != row.failures {
					t.Errorf("%d overlaps, %d stuck, %d failed", r.Overlaps, len(r.Stuck), r.Failed)
				}
			})
		})
	}
}

func TestWaitsEndWhenTheLockIsThere(t *testing.T) {
	room := testRoom(t)
	synctest.Test(t, func(t *testing.T) {
		lock := slots(1)
		l := load{locks: []do{lock, lock}, hold: sleep, grace: time.Second, room: room}
		r := l.run(t.Context(), 10*time.Millisecond)
		for _, waits := range r.Waits {
			if len(waits) < 5 {
				t.Errorf("%d grants in 10 ms, of which each of two callers holds the lock for 1 ms", len(waits))
			}
			for _, wait := range waits[1:] {
				if wait != 1000 {
					t.Errorf("a wait of %d µs for a lock that is held for 1000", wait)
				}
			}
		}
	})
}

func TestTwoProcessesShareARoom(t *testing.T) {
	file := roomFile(t)
	var rooms [2]*room
	for i := range rooms {
		var err error
		if rooms[i], err = openRoom(file); err != nil {
			t.Fatal(err)
		}
		defer rooms[i].close()
	}
	rooms[0].enter()
	rooms[1].enter()
	if n := rooms[1].overlaps.Load(); n != 1 {
		t.Errorf("the second saw %d overlaps", n)
	}
	rooms[0].leave()
	rooms[1].leave()
	rooms[0].enter()
	if n := rooms[0].overlaps.Load(); n != 0 {
		t.Errorf("the first saw %d overlaps, though nobody was inside when it entered", n)
	}
}

func TestAPauseIsNoShorterThanItSays(t *testing.T) {
	for _, d := range []time.Duration{0, time.Millisecond} {
		start := time.Now()
		if pause(d); time.Since(start) < d {
			t.Errorf("%v instead of %v", time.Since(start), d)
		}
	}
}

func TestUnknownLocksAreRefused(t *testing.T) {
	err := run(t.Context(), []string{"--locks", "chain"}, strings.NewReader(""), t.Output())
	if err == nil || !strings.Contains(err.Error(), `"chain"`) {
		t.Error(err)
	}
}

func testRoom(t *testing.T) *room {
	t.Helper()
	r, err := openRoom(roomFile(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

func roomFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "inside")
	if err := os.WriteFile(file, make([]byte, 8), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

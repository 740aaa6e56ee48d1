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

// fake returns locks that are acquired by lock.
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

// semaphore returns locks that n holders can have at the same time.
func semaphore(n int) do {
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

// neverUnlocked returns a lock that is never released.
func neverUnlocked() do {
	var acquire sync.Once
	return fake(func(ctx context.Context) (func(), error) {
		free := false
		acquire.Do(func() { free = true })
		if !free {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return func() {}, nil
	})
}

// failing returns a lock whose acquisition fails.
func failing() do {
	return fake(func(context.Context) (func(), error) { return nil, errors.New("no") })
}

func sleep() { time.Sleep(time.Millisecond) }

func TestLoad_Results(t *testing.T) {
	for _, row := range []struct {
		name                      string
		locks                     func() do
		overlaps, stuck, failures bool
	}{
		{"a mutex", func() do { return semaphore(1) }, false, false, false},
		{"two concurrent holders are counted as overlaps", func() do { return semaphore(2) }, true, false, false},
		{"an unreleased lock leaves the other callers stuck", neverUnlocked, false, true, false},
		{"a failure is counted", failing, false, false, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			counter := newHolderCounter(t)
			synctest.Test(t, func(t *testing.T) {
				lock := row.locks() // its channel must belong to the bubble
				l := load{locks: []do{lock, lock, lock, lock}, hold: sleep, grace: time.Second, counter: counter}
				r := l.run(t.Context(), 100*time.Millisecond)
				if (r.Overlaps > 0) != row.overlaps || (len(r.Stuck) > 0) != row.stuck || (r.Failed > 0) != row.failures {
					t.Errorf("got %d overlaps, %d stuck, %d failed", r.Overlaps, len(r.Stuck), r.Failed)
				}
			})
		})
	}
}

func TestLoad_Waits(t *testing.T) {
	counter := newHolderCounter(t)
	synctest.Test(t, func(t *testing.T) {
		lock := semaphore(1)
		l := load{locks: []do{lock, lock}, hold: sleep, grace: time.Second, counter: counter}
		r := l.run(t.Context(), 10*time.Millisecond)
		for _, waits := range r.Waits {
			if len(waits) < 5 {
				t.Errorf("got %d grants in 10 ms, want at least 5: each of two callers holds the lock for 1 ms", len(waits))
			}
			for _, wait := range waits[1:] {
				if wait != 1000 {
					t.Errorf("got a wait of %d µs, want 1000", wait)
				}
			}
		}
	})
}

func TestHolderCounter_TwoProcesses(t *testing.T) {
	file := counterFile(t)
	var counters [2]*holderCounter
	for i := range counters {
		var err error
		if counters[i], err = openHolderCounter(file); err != nil {
			t.Fatal(err)
		}
		defer counters[i].close()
	}
	counters[0].enter()
	counters[1].enter()
	if n := counters[1].overlaps.Load(); n != 1 {
		t.Errorf("second process: got %d overlaps, want 1", n)
	}
	counters[0].leave()
	counters[1].leave()
	counters[0].enter()
	if n := counters[0].overlaps.Load(); n != 0 {
		t.Errorf("first process: got %d overlaps, want 0", n)
	}
}

func TestPause(t *testing.T) {
	for _, d := range []time.Duration{0, time.Millisecond} {
		start := time.Now()
		if pause(d); time.Since(start) < d {
			t.Errorf("paused for %v, want at least %v", time.Since(start), d)
		}
	}
}

func TestRun_UnknownLocks(t *testing.T) {
	err := run(t.Context(), []string{"--locks", "chain"}, strings.NewReader(""), t.Output())
	if err == nil || !strings.Contains(err.Error(), `"chain"`) {
		t.Error(err)
	}
}

func newHolderCounter(t *testing.T) *holderCounter {
	t.Helper()
	r, err := openHolderCounter(counterFile(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

func counterFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "holders")
	if err := os.WriteFile(file, make([]byte, 8), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

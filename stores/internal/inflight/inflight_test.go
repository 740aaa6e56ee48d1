package inflight

import (
	"errors"
	"sync"
	"testing"

	"github.com/mortise-lock/mortise/stores"
)

func TestCalls_Close(t *testing.T) {
	c := New()
	if err := c.Begin(); err != nil || c.Closed() {
		t.Fatalf("Begin returned %v, Closed %v", err, c.Closed())
	}
	ended := make(chan struct{})
	go func() { // a call that waits until the store is closed
		defer c.Done()
		<-c.Closing()
		close(ended)
	}()
	<-c.Close()
	select {
	case <-ended:
	default:
		t.Error("the calls have returned before the call has ended")
	}
	if err := c.Begin(); !errors.Is(err, stores.ErrClosed) || !c.Closed() {
		t.Errorf("after Close, Begin returned %v, Closed %v", err, c.Closed())
	}
	<-c.Close()
}

// A call that Begin has let in is always waited for, also if it begins while Close runs.
func TestCalls_CloseWhileCallsBegin(t *testing.T) {
	for range 1000 {
		c := New()
		var callers sync.WaitGroup
		var mu sync.Mutex
		running := 0
		for range 4 {
			callers.Go(func() {
				if c.Begin() != nil {
					return
				}
				mu.Lock()
				running++
				mu.Unlock()
				<-c.Closing()
				mu.Lock()
				running--
				mu.Unlock()
				c.Done()
			})
		}
		<-c.Close()
		mu.Lock()
		left := running
		mu.Unlock()
		callers.Wait()
		if left != 0 {
			t.Fatalf("%d calls are under way after Close", left)
		}
	}
}

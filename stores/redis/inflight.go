package redis

import (
	"sync"

	"github.com/mortise-lock/mortise/stores"
)

// inflight counts the calls that may take long, so that Close can end them and wait for
// them.
type inflight struct {
	closing chan struct{}  // closed by close
	calls   sync.WaitGroup // started calls and their goroutines

	mu     sync.Mutex
	closed bool
}

func newInflight() *inflight { return &inflight{closing: make(chan struct{})} }

// start counts a call, which ends with calls.Done. It fails with ErrClosed after close.
func (i *inflight) start() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return stores.ErrClosed
	}
	i.calls.Add(1)
	return nil
}

// close ends the calls, and returns a channel that is closed when all of them have
// returned.
func (i *inflight) close() (done <-chan struct{}) {
	i.mu.Lock()
	if !i.closed {
		i.closed = true
		close(i.closing)
	}
	i.mu.Unlock()
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		i.calls.Wait()
	}()
	return returned
}

package redis

import (
	"sync"

	"github.com/mortise-lock/mortise/stores"
)

// gate counts the calls that may take long, so that Close can end them and wait for them.
type inflight struct {
	closing chan struct{}  // closed by shut
	calls   sync.WaitGroup // those who have entered, and what they have started

	mu     sync.Mutex
	closed bool
}

func newInflight() *inflight { return &inflight{closing: make(chan struct{})} }

// enter lets a call in, which ends with calls.Done. It fails with ErrClosed after shut.
func (g *inflight) start() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return stores.ErrClosed
	}
	g.calls.Add(1)
	return nil
}

// shut tells those inside to leave, and returns a channel that is closed when they have.
func (g *inflight) close() (empty <-chan struct{}) {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		close(g.closing)
	}
	g.mu.Unlock()
	left := make(chan struct{})
	go func() {
		defer close(left)
		g.calls.Wait()
	}()
	return left
}

// Package inflight counts the calls of a store that are under way, so that Close can end
// them, wait for them and refuse later ones.
package inflight

import (
	"sync"

	"github.com/mortise-lock/mortise/stores"
)

// Calls counts calls. All methods are safe for concurrent use.
type Calls struct {
	mu      sync.RWMutex // no call begins while Close closes closing
	closing chan struct{}
	running sync.WaitGroup
}

// New returns a Calls without calls.
func New() *Calls { return &Calls{closing: make(chan struct{})} }

// Begin counts a call, which ends with Done. After Close it returns stores.ErrClosed.
func (c *Calls) Begin() error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.Closed() {
		return stores.ErrClosed
	}
	c.running.Add(1)
	return nil
}

// Done ends a call that Begin has counted.
func (c *Calls) Done() { c.running.Done() }

// Go calls f in a goroutine, as a part of a call that Begin has counted and that has not
// ended.
func (c *Calls) Go(f func()) { c.running.Go(f) }

// Closing returns a channel that Close closes. A call that waits returns then.
func (c *Calls) Closing() <-chan struct{} { return c.closing }

// Closed reports whether Close was called.
func (c *Calls) Closed() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

// Close refuses later calls and closes Closing. The channel that it returns is closed
// when no call is under way. Close may be called several times.
func (c *Calls) Close() (returned <-chan struct{}) {
	c.mu.Lock()
	if !c.Closed() {
		close(c.closing)
	}
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.running.Wait()
	}()
	return done
}

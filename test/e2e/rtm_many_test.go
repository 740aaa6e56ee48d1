// Many RTM channels.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/client/rtm"
)

func TestRTM_ThousandChannels(t *testing.T) {
	t.Parallel()
	const channels, locks = 1000, 32
	near, far, server := startPair(t)
	setter, watcher := login(t, near, "setter"), login(t, far, "watcher")
	channel := func(i int) rtm.Channel { return rtm.Stream(fmt.Sprint("room ", i)) }
	forEachChannel(t, channels, func(i int) error {
		for j := range locks {
			if _, err := setter.SetLock(t.Context(), channel(i), fmt.Sprint("seat ", j), 0); err != nil {
				return err
			}
		}
		if _, err := setter.SetLock(t.Context(), channel(i), "one too many", 0); !errors.Is(err, rtm.ErrOperationFailed) {
			return fmt.Errorf("one more: %w", err)
		}
		_, err := setter.AcquireLock(t.Context(), channel(i), "seat 0", false)
		return err
	})

	var watching sync.WaitGroup
	ready := make(chan struct{}, channels)
	for i := range channels {
		watching.Go(func() {
			if err := watchUntilRemoved(t.Context(), watcher, channel(i), locks, ready); err != nil {
				t.Errorf("channel %d: %v", i, err)
			}
		})
	}
	for range channels {
		<-ready
	}
	forEachChannel(t, channels, func(i int) error {
		rows, err := watcher.GetLock(t.Context(), channel(i))
		if err == nil && (len(rows) != locks || rows[0].Owner != "setter" || rows[1].Owner != "") {
			err = fmt.Errorf("got the locks %v", rows)
		}
		return err
	})
	forEachChannel(t, channels, func(i int) error {
		for j := range locks {
			if err := setter.RemoveLock(t.Context(), channel(i), fmt.Sprint("seat ", j)); err != nil {
				return err
			}
		}
		return nil
	})
	watching.Wait()
	setter.Close()
	watcher.Close()
	near.terminate()
	far.terminate()
	r := server.Client(func(o *goredis.Options) { o.Password = secret })
	eventually(t, "Redis is empty", func() error {
		keys, err := r.Keys(t.Context(), "*").Result()
		if err == nil && !slices.Equal(keys, []string{"mortise:token"}) {
			err = fmt.Errorf("got %d keys, among them %q", len(keys), keys[:min(5, len(keys))])
		}
		return err
	})
}

// forEachChannel calls fn for each channel, with some concurrency.
func forEachChannel(t *testing.T, channels int, fn func(i int) error) {
	t.Helper()
	var running sync.WaitGroup
	todo := make(chan int)
	for range 16 {
		running.Go(func() {
			for i := range todo {
				if err := fn(i); err != nil {
					t.Errorf("channel %d: %v", i, err)
				}
			}
		})
	}
	for i := range channels {
		todo <- i
	}
	close(todo)
	running.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// watchUntilRemoved watches a channel of this number of locks until all have been
// removed.
func watchUntilRemoved(ctx context.Context, u *rtm.User, channel rtm.Channel, locks int, ready chan<- struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 4*waitTimeout)
	defer cancel()
	left := map[string]bool{}
	for e, err := range u.Events(ctx, channel) {
		switch {
		case err != nil:
			return err
		case e.Type == rtm.EventSnapshot:
			for _, l := range e.Locks {
				left[l.Name] = true
			}
			ready <- struct{}{}
			if len(left) != locks {
				return fmt.Errorf("got a snapshot of %d locks", len(left))
			}
		case e.Type == rtm.EventRemoved && left[e.Lock.Name]:
			if delete(left, e.Lock.Name); len(left) == 0 {
				return nil
			}
		default:
			return fmt.Errorf("unexpected event %v", e)
		}
	}
	return errors.New("the events have ended")
}

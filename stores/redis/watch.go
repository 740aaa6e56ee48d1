package redis

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/mortise-lock/mortise/internal/sleep"
	"github.com/mortise-lock/mortise/stores"
)

const (
	// watchPrefix and an id are the channel of one watcher.
	watchPrefix = "mortise:watch:"

	// heartbeatInterval is how often a watcher sends its heartbeat. Redis forgets it
	// after five seconds.
	heartbeatInterval = time.Second
	// syncTimeout is how long a watcher waits for the report that ends a snapshot.
	syncTimeout = 5 * time.Second
)

var (
	// errMessagesLost means that messages were lost, and that a new snapshot is needed.
	errMessagesLost = errors.New("messages were lost")
	// errHandler means that the watcher's function has returned an error.
	errHandler = errors.New("the watcher's function has failed")
)

// watch is one Watch call in progress. Beside the caller's goroutine, one receives
// messages and one sends the heartbeat, without which Redis publishes nothing.
type watch struct {
	store        *Store
	prefix       string
	channel      string
	reportNumber uint64 // of the last report requested; heartbeats request none

	*eventBuffer
	view
}

// Watch implements [stores.Watcher]. While Redis does not answer there are no events;
// after that there is a Snapshot. Watch notices the end of a lock that expires by asking
// Redis when its TTL is over.
func (s *Store) Watch(ctx context.Context, prefix string, handle func(stores.Event) error) error {
	if err := s.calls.Begin(); err != nil {
		return wrap(ctx, "watch", prefix, err)
	}
	defer s.calls.Done()
	if err := contextErr(ctx); err != nil {
		return wrap(ctx, "watch", prefix, err)
	}
	w := &watch{store: s, prefix: prefix, channel: watchPrefix + uuid.NewString(), eventBuffer: newEventBuffer(), view: view{handle: handle}}
	helpers, cancel := context.WithCancel(ctx)
	var helping sync.WaitGroup
	defer helping.Wait()
	defer cancel()
	helping.Go(func() { w.newListener().run(helpers) })
	helping.Go(func() { w.heartbeat(helpers) })
	err := w.run(ctx)
	if errors.Is(err, errHandler) {
		return w.handleErr
	}
	return wrap(ctx, "watch", prefix, err)
}

func (w *watch) newListener() *listener {
	return &listener{
		client:       w.store.client,
		channels:     []string{w.store.events, w.channel},
		onSubscribed: w.connected,
		onMessage:    w.receive,
		onError:      w.disconnected,
	}
}

// heartbeat sends the watcher's heartbeat until ctx ends. The report that answers it
// comes among the events, and shows that messages are received.
func (w *watch) heartbeat(ctx context.Context) {
	for ctx.Err() == nil {
		_, _ = w.requestReport(ctx, 0, nil) // without a report, the listener reconnects
		sleep.For(ctx, heartbeatInterval)
	}
}

// requestReport has Redis publish a report about some keys to the watcher, under a
// number. It returns when the present period with watchers began.
func (w *watch) requestReport(ctx context.Context, number uint64, keys []string) (since string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return w.store.runScript(ctx, watchScript, nil, appendStrings([]any{w.channel, number}, keys)...).Text()
}

// receive buffers a message, if it concerns the watched locks.
func (w *watch) receive(channel, message string) {
	if channel == w.channel {
		if r, err := parseReport(message); err == nil {
			w.add(r)
		}
		return
	}
	if e, err := parseEvent(message); err == nil && strings.HasPrefix(e.Lock.Key, w.prefix) {
		w.add(e)
	}
}

// run passes events to the watcher until ctx ends.
func (w *watch) run(ctx context.Context) error {
	for {
		message, err := w.next()
		switch {
		case err != nil:
			err = w.resync(ctx)
		case message != nil:
			err = w.apply(message)
		default:
			err = w.waitForMessage(ctx, w.untilExpiry())
		}
		if errors.Is(err, errMessagesLost) {
			w.markLost()
		} else if err != nil {
			return err
		}
	}
}

// waitForMessage waits for a message, for d at most. Then it checks the locks whose TTL
// is over.
func (w *watch) waitForMessage(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return w.store.waitErr(ctx)
	case <-w.store.calls.Closing():
		return stores.ErrClosed
	case <-w.ready():
	case <-timer.C:
		w.checkExpired(ctx)
	}
	return nil
}

// checkExpired requests a report about the locks whose TTL is over. If that fails, or the
// report is lost, a later call repeats it.
func (w *watch) checkExpired(ctx context.Context) {
	if due := w.takeDue(time.Now()); len(due) > 0 {
		w.reportNumber++
		w.pendingChecks[w.reportNumber] = due
		if _, err := w.requestReport(ctx, w.reportNumber, due); err != nil {
			delete(w.pendingChecks, w.reportNumber)
		}
	}
}

// resync passes a snapshot to the watcher, as soon as messages are received. An error
// before the first snapshot ends the watch; later ones are retried unless they are
// permanent.
func (w *watch) resync(ctx context.Context) error {
	subscribed, cause := w.restart()
	switch {
	case !subscribed && cause != nil && (!w.published || isPermanent(cause)):
		return cause
	case !subscribed:
		return w.waitForMessage(ctx, syncTimeout)
	}
	err := w.loadSnapshot(ctx)
	if err == nil || errors.Is(err, errMessagesLost) || errors.Is(err, errHandler) || !w.published || isPermanent(err) || ctx.Err() != nil {
		return err
	}
	w.markLost()
	return w.waitForMessage(ctx, heartbeatInterval)
}

// loadSnapshot passes all locks that are held or declared to the watcher. It takes what
// Redis lists, with the events received meanwhile, up to a report that Redis publishes
// after that: so the snapshot is the state of one moment.
func (w *watch) loadSnapshot(ctx context.Context) error {
	since, err := w.requestReport(ctx, 0, nil) // starts the publishing of events
	if err != nil {
		return err
	}
	w.reset(since)
	if err := w.loadLocks(ctx); err != nil {
		return err
	}
	w.reportNumber++
	if _, err := w.requestReport(ctx, w.reportNumber, nil); err != nil {
		return err
	}
	for deadline := time.Now().Add(syncTimeout); w.lastReport < w.reportNumber; {
		if time.Now().After(deadline) {
			return errMessagesLost
		}
		if err := w.waitForMessage(ctx, time.Until(deadline)); err != nil {
			return err
		}
		if err := w.applyPending(); err != nil {
			return err
		}
	}
	return w.publishSnapshot()
}

// loadLocks takes what Redis lists, with the events received meanwhile.
func (w *watch) loadLocks(ctx context.Context) error {
	err := w.store.scan(ctx, w.prefix, func(locks []stores.LockInfo) error {
		for _, l := range locks {
			w.put(l)
		}
		return w.applyPending()
	})
	if err != nil {
		return err
	}
	return w.store.scanGroups(ctx, w.prefix, func(revision uint64, locks []stores.LockInfo) error {
		for _, l := range locks {
			w.declared[l.Key] = declaration{l.DeclaredTTL, revision}
		}
		return w.applyPending()
	})
}

// applyPending applies the buffered messages.
func (w *watch) applyPending() error {
	for {
		message, err := w.next()
		if message == nil || err != nil {
			return err
		}
		if err := w.apply(message); err != nil {
			return err
		}
	}
}

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
	watchPrefix = "mortise:watch:" // and an id: the channel of one watcher

	// beatPeriod is how often a watcher tells Redis that it is there. Redis forgets it
	// after five seconds.
	heartbeatInterval = time.Second
	// syncTimeout is how long a watcher waits for the report that ends a snapshot.
	syncTimeout = 5 * time.Second
)

var (
	// errBehind means that messages were lost, and that a new snapshot is needed.
	errMessagesLost = errors.New("messages were lost")
	// errRefused means that tell has returned an error.
	errHandler = errors.New("the watcher does not want to be told more")
)

// watch is a Watch under way. Two goroutines help the caller's: one receives, the other
// tells Redis that somebody watches. Without a watcher nothing is published.
type watch struct {
	store        *Store
	prefix       string
	channel      string
	reportNumber uint64 // of the last report asked for; the helpers do not ask for any

	*eventBuffer
	view
}

// Watch implements [stores.Watcher]. While Redis does not answer there are no events;
// after that there is a Snapshot. That a lock has expired is found out by asking when its
// time is over.
func (s *Store) Watch(ctx context.Context, prefix string, tell func(stores.Event) error) error {
	if err := s.start(); err != nil {
		return wrap(ctx, "watch", prefix, err)
	}
	defer s.calls.Done()
	if err := contextErr(ctx); err != nil {
		return wrap(ctx, "watch", prefix, err)
	}
	w := &watch{store: s, prefix: prefix, channel: watchPrefix + uuid.NewString(), eventBuffer: newEventBuffer(), view: view{handle: tell}}
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

// beat tells Redis that somebody watches, until ctx ends. The answer comes among the
// events, and shows that they come.
func (w *watch) heartbeat(ctx context.Context) {
	for ctx.Err() == nil {
		_, _ = w.requestReport(ctx, 0, nil) // without an answer, the connection will be replaced
		sleep.For(ctx, heartbeatInterval)
	}
}

// ask has Redis publish a report about some keys to the watcher, under a number. It
// returns since when somebody has been watching.
func (w *watch) requestReport(ctx context.Context, number uint64, keys []string) (since string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return w.store.runScript(ctx, watchScript, nil, appendStrings([]any{w.channel, number}, keys)...).Text()
}

// heard keeps a message, if it is about our locks.
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

// run tells until ctx ends.
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

// idle waits for a message. If time passes before, there are locks to check.
func (w *watch) waitForMessage(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return w.store.contextError(ctx)
	case <-w.store.closing:
		return stores.ErrClosed
	case <-w.ready:
	case <-timer.C:
		w.checkExpired(ctx)
	}
	return nil
}

// checkDue asks about the locks whose time is over. Should that fail, or the report be
// lost, it asks again after a while.
func (w *watch) checkExpired(ctx context.Context) {
	if due := w.takeDue(time.Now()); len(due) > 0 {
		w.reportNumber++
		w.pendingChecks[w.reportNumber] = due
		if _, err := w.requestReport(ctx, w.reportNumber, due); err != nil {
			delete(w.pendingChecks, w.reportNumber)
		}
	}
}

// catchUp publishes a snapshot, as soon as Redis is heard. Trouble with the first is an
// error; later it is a reason to try again, unless time cannot mend it.
func (w *watch) resync(ctx context.Context) error {
	hearing, broken := w.restart()
	switch {
	case !hearing && broken != nil && (!w.published || isPermanent(broken)):
		return broken
	case !hearing:
		return w.waitForMessage(ctx, syncTimeout)
	}
	err := w.loadSnapshot(ctx)
	if err == nil || errors.Is(err, errMessagesLost) || errors.Is(err, errHandler) || !w.published || isPermanent(err) || ctx.Err() != nil {
		return err
	}
	w.markLost()
	return w.waitForMessage(ctx, heartbeatInterval)
}

// snapshot tells what is held or declared. It takes what Redis lists, with the changes
// that come meanwhile, up to a report that Redis publishes after all that was listed: so
// it is the state of one moment.
func (w *watch) loadSnapshot(ctx context.Context) error {
	since, err := w.requestReport(ctx, 0, nil) // from now on events are published
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

// gather takes what Redis lists, and the changes that come meanwhile.
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

// drain applies the messages that there are.
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

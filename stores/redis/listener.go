package redis

import (
	"context"
	"errors"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/internal/sleep"
)

const (
	// silence is after how long without a message a connection is taken for broken and
	// replaced. Who listens sees to it that something is published more often.
	receiveTimeout = 3 * time.Second
	// redial is the pause after a failure.
	redialDelay = 50 * time.Millisecond
)

// listener receives what is published on channels, in order, over a connection of its
// own. It calls its functions from one goroutine. go-redis's own loop is not used,
// because it drops messages when it is not read in time.
type listener struct {
	client       goredis.UniversalClient
	channels     []string
	onSubscribed func()                        // from now on nothing is missed; again after the connection was replaced
	onMessage    func(channel, message string) // something was published
	onError      func(error)                   // the connection is broken, or Redis refuses to subscribe it
}

// run listens until ctx ends.
func (l *listener) run(ctx context.Context) {
	for ctx.Err() == nil {
		l.listen(ctx)
	}
}

// listen uses one PubSub, which replaces its connection when that breaks, until ctx ends
// or there is silence.
func (l *listener) listen(ctx context.Context) {
	pubsub := l.client.Subscribe(ctx, l.channels...)
	closed := make(chan struct{})
	watchdog := time.NewTimer(receiveTimeout)
	go func() {
		defer close(closed)
		select {
		case <-ctx.Done():
		case <-watchdog.C:
		}
		_ = pubsub.Close() // which ends Receive
	}()
	defer func() { <-closed }()
	for {
		message, err := pubsub.Receive(ctx)
		switch message := message.(type) {
		case *goredis.Subscription:
			if message.Count == len(l.channels) {
				l.onSubscribed()
			}
		case *goredis.Message:
			l.onMessage(message.Channel, message.Payload)
		}
		if errors.Is(err, goredis.ErrClosed) {
			watchdog.Reset(0) // if it was the client that was closed
			return
		}
		if err != nil {
			l.onError(err)
			sleep.For(ctx, redialDelay)
			continue
		}
		watchdog.Reset(receiveTimeout)
	}
}

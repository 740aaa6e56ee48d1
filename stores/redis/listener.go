package redis

import (
	"context"
	"errors"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/internal/sleep"
)

const (
	// receiveTimeout is after how long without a message a connection counts as broken
	// and is replaced. Every subscriber makes sure that messages are sent more often.
	receiveTimeout = 3 * time.Second
	// redialDelay is the pause after a failure.
	redialDelay = 50 * time.Millisecond
)

// listener receives the messages of channels, in order, over a connection of its own. It
// calls its functions from one goroutine. go-redis's own loop is not used, because it
// drops messages if they are not read in time.
type listener struct {
	client       goredis.UniversalClient
	channels     []string
	onSubscribed func() // no message is missed from now on; again after a reconnect
	onMessage    func(channel, message string)
	onError      func(error) // the connection broke, or Redis denied the subscription
}

// run receives messages until ctx ends.
func (l *listener) run(ctx context.Context) {
	for ctx.Err() == nil {
		l.listen(ctx)
	}
}

// listen uses one PubSub, which replaces its connection when that breaks, until ctx ends
// or no message is received for receiveTimeout.
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
		_ = pubsub.Close() // ends Receive
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
			watchdog.Reset(0) // in case the client was closed
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

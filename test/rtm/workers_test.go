package rtm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The size of a test.
const (
	seeds           = 3
	workerCount     = 6
	callsPerWorker  = 60
	locksPerChannel = 3
	endMarker       = "~ the end" // name of the lock whose event is the last of a stream
)

var channels = []request{
	{store: component, channel: "house", kind: messageType, ttl: 300},
	{store: component, channel: "house", kind: streamType, ttl: 300},
	{store: component, channel: "garden", kind: messageType, ttl: 300},
}

// workers are users that call operations at random, with streams that report the events.
type workers struct {
	*env
	seed     int64
	maxPause time.Duration // longest pause between two calls of a worker
	halfDone chan struct{} // closed when the first worker has made half of its calls
	allDone  chan struct{} // closed when all workers have made all calls
	readers  sync.WaitGroup

	mu      sync.Mutex
	granted map[grant]string // users that acquired locks, by grant
}

// grant is a lock with the token of a grant.
type grant struct {
	lockID
	rev uint64
}

func TestEvents(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		for seed := range int64(seeds) {
			p.runWithEnv(t, fmt.Sprintf("seed %d", seed), func(w *env) { newWorkers(w, seed).run() })
		}
	})
}

func TestEvents_TwoProcesses(t *testing.T) {
	server := startRedis(t)
	forEachAPI(t, "", func(t *testing.T, p target) {
		p.redis = server
		for seed := range int64(seeds) {
			name := fmt.Sprintf("seed %d", seed)
			t.Run(name, func(t *testing.T) {
				p.skipVariants(t, name)
				newWorkers(p.newEnv(t, scenarioTimeout, nil, 2), seed).run()
			})
		}
	})
}

// TestEvents_Expiry has users that are never online and pause for longer than the TTL of
// their locks.
func TestEvents_Expiry(t *testing.T) {
	forEachAPI(t, "", func(t *testing.T, p target) {
		for seed := range int64(seeds) {
			name := fmt.Sprintf("seed %d", seed)
			t.Run(name, func(t *testing.T) {
				p.skipVariants(t, name)
				p.withEnv(t, map[string]string{"rtmMinTTL": "1s", "rtmMaxTTL": "1s"}, func(w *env) {
					c := newWorkers(w, seed)
					c.maxPause = time.Second
					c.run()
				})
			})
		}
	})
}

func newWorkers(w *env, seed int64) *workers {
	return &workers{env: w, seed: seed, halfDone: make(chan struct{}), allDone: make(chan struct{}), granted: map[grant]string{}}
}

// userAt returns a user at one of the env's APIs.
func (c *workers) userAt(i int, name string) user { return user{c.env, c.apis[i%len(c.apis)], name} }

// run runs the workers, and then compares the events of all streams with the locks.
func (c *workers) run() {
	now := make(chan struct{})
	close(now)
	for i, channel := range channels {
		for j, subscriber := range []struct{ begin, read chan struct{} }{
			{now, now}, {c.halfDone, c.halfDone}, {now, c.allDone}, {now, c.halfDone},
		} {
			u := c.userAt(i+j, fmt.Sprint("subscriber ", j))
			c.readStream(u, subscribe, channel, subscriber.begin, subscriber.read)
		}
	}
	var all sync.WaitGroup
	for i := range workerCount {
		u := c.userAt(i, fmt.Sprint("user ", i))
		if i%2 == 0 {
			c.readStream(c.userAt(i/2, u.name), session, request{store: component}, now, now)
		}
		all.Go(func() { c.runWorker(u, rand.New(rand.NewPCG(uint64(c.seed), uint64(i)))) })
	}
	all.Wait()
	close(c.allDone)
	c.setEndMarkers()
	c.readers.Wait()
	c.checkFinalState()
}

// runWorker makes the calls of a worker.
func (c *workers) runWorker(u user, dice *rand.Rand) {
	for i := range callsPerWorker {
		if i == callsPerWorker/2 && u.name == "user 0" {
			close(c.halfDone)
		}
		time.Sleep(time.Duration(dice.Float64() * float64(c.maxPause)))
		if err := c.randomCall(u, dice); err != nil {
			c.Errorf("%s: %v", u.name, err)
		}
	}
}

// randomOperations are the operations to choose from; frequent ones occur several times.
var randomOperations = []string{
	setLock, setLock, acquireLock, acquireLock, acquireLock, acquireLock, acquireLock, releaseLock, releaseLock, releaseLock,
	revokeLock, removeLock,
}

// randomCall makes a random call, which may time out. It ignores expected errors.
func (c *workers) randomCall(u user, dice *rand.Rand) error {
	operation := randomOperations[dice.IntN(len(randomOperations))]
	a := channels[dice.IntN(len(channels))].withLock(fmt.Sprint("lock ", dice.IntN(locksPerChannel)))
	a.retry = dice.IntN(2) == 0
	if dice.IntN(2) == 0 {
		a.owner = fmt.Sprint("user ", dice.IntN(workerCount))
	}
	ctx, cancel := c.ctx, context.CancelFunc(func() {})
	if operation == acquireLock && a.retry {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(1+dice.IntN(20))*time.Millisecond)
	}
	defer cancel()
	got, err := u.callIn(ctx, operation, a)
	if operation == acquireLock && err == nil {
		return c.recordGrant(u.name, grant{idOf(got.lock), got.rev})
	}
	if f, ok := errors.AsType[*statusError](err); ok && slices.Contains(expectedCodes, f.code) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// expectedCodes are the codes of calls that conflict with another user's calls or time
// out.
var expectedCodes = []int32{-14002, -14003, -14004, -14006, -14007, -14008}

// recordGrant records a grant, whose token must be new.
func (c *workers) recordGrant(name string, got grant) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, ok := c.granted[got]; ok || got.rev == 0 {
		return fmt.Errorf("grant %+v must be new, %q has the same", got, other)
	}
	c.granted[got] = name
	return nil
}

// readStream opens a stream when begin is closed, and reads it when read is closed.
func (c *workers) readStream(u user, operation string, a request, begin, read chan struct{}) {
	a.user = u.name
	opened := make(chan struct{})
	c.readers.Go(func() {
		<-begin
		ctx, cancel := context.WithCancel(c.ctx)
		defer cancel()
		s, err := u.api.open(ctx, operation, a)
		close(opened)
		if err != nil {
			c.Errorf("%s's %s: %v", u.name, operation, err)
			return
		}
		<-read
		if err := c.verifyStream(u, operation, a, s); err != nil {
			c.Errorf("%s's %s of %s: %v", u.name, operation, a.channel, err)
		}
	})
	if begin != c.halfDone {
		<-opened
	}
}

// verifyStream reads a stream until the end marker, and compares the result with getLock.
func (c *workers) verifyStream(u user, operation string, a request, s stream) error {
	if operation == subscribe {
		r := newReplica("")
		if err := r.follow(s, endMarker); err != nil {
			return err
		}
		return r.compare(c.currentLocks(u, "", a))
	}
	r := newReplica(u.name)
	if err := r.follow(s, endMarker+" of "+u.name); err != nil {
		return err
	}
	return r.compare(c.currentLocks(u, u.name, channels...))
}

// currentLocks returns the locks of the channels by getLock: all, or only the owner's.
func (c *workers) currentLocks(u user, owner string, channels ...request) map[lockID]lock {
	present := map[lockID]lock{}
	for _, a := range channels {
		got, err := u.call(getLock, a)
		if err != nil {
			c.Errorf("getLock: %v", err)
		}
		for _, l := range got.locks {
			if l.channel, l.kind = a.channel, a.kind; owner == "" || l.owner == owner {
				present[idOf(l)] = l
			}
		}
	}
	return present
}

// setEndMarkers sets the locks whose events end the streams, first those of sessions.
func (c *workers) setEndMarkers() {
	for i := 0; i < workerCount; i += 2 {
		u := c.userAt(i, fmt.Sprint("user ", i))
		end := channels[0].withLock(endMarker + " of " + u.name)
		u.must(setLock, end)
		u.must(acquireLock, end)
	}
	for i, room := range channels {
		c.userAt(i, "user 0").must(setLock, room.withLock(endMarker))
	}
}

// checkFinalState checks that no call waits any more, and that owners have received the
// answer for each lock that they hold.
func (c *workers) checkFinalState() {
	for _, room := range channels {
		for _, l := range c.userAt(0, "dora").locks(room) {
			c.waitForWaiters(room.withLock(l.name), 0)
			l.channel, l.kind = room.channel, room.kind
			owner := c.granted[grant{idOf(l), l.rev}]
			// With other APIs the answer may be lost.
			if isDirect(c.apis[0]) && l.owner != owner && !strings.HasPrefix(l.name, endMarker) {
				c.Errorf("%s holds %+v, but its call did not return the grant", l.owner, l)
			}
		}
	}
}

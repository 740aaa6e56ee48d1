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

// What a crowd is.
const (
	seeds           = 3
	workerCount     = 6
	callsPerWorker  = 60 // of each
	locksPerChannel = 3  // of each channel
	endMarker       = "~ the end"
)

// rooms are the channels.
var channels = []request{
	{store: component, channel: "house", kind: messageType, ttl: 300},
	{store: component, channel: "house", kind: streamType, ttl: 300},
	{store: component, channel: "garden", kind: messageType, ttl: 300},
}

// crowd is people who use locks at random, and others who are told of it.
type workers struct {
	*env
	seed     int64
	maxPause time.Duration // how long people rest at most between two calls
	halfDone chan struct{} // closed when the first has done half of it
	allDone  chan struct{} // closed when all have done all
	readers  sync.WaitGroup

	mu      sync.Mutex
	granted map[grant]string // who was told that he got a lock
}

// grant is a lock and the token of whoever got it.
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

// at returns a user at one of the ways in.
func (c *workers) userAt(i int, name string) user { return user{c.env, c.apis[i%len(c.apis)], name} }

// play lets all do what they do, and then checks what those know who were told.
func (c *workers) run() {
	now := make(chan struct{})
	close(now)
	for i, room := range channels {
		for j, watcher := range []struct{ begin, read chan struct{} }{
			{now, now}, {c.halfDone, c.halfDone}, {now, c.allDone}, {now, c.halfDone},
		} {
			c.readStream(c.userAt(i+j, fmt.Sprint("watcher ", j)), subscribe, room, watcher.begin, watcher.read)
		}
	}
	var crowd sync.WaitGroup
	for i := range workerCount {
		u := c.userAt(i, fmt.Sprint("user ", i))
		if i%2 == 0 {
			c.readStream(c.userAt(i/2, u.name), session, request{store: component}, now, now)
		}
		crowd.Go(func() { c.runWorker(u, rand.New(rand.NewPCG(uint64(c.seed), uint64(i)))) })
	}
	crowd.Wait()
	close(c.allDone)
	c.setEndMarkers()
	c.readers.Wait()
	c.checkFinalState()
}

// live lets a user do something many times.
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

// choices are the calls, those that are frequent several times.
var randomOperations = []string{
	setLock, setLock, acquireLock, acquireLock, acquireLock, acquireLock, acquireLock, releaseLock, releaseLock, releaseLock,
	revokeLock, removeLock,
}

// do lets a user make a call, for which he has not always the patience.
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

// refusals are the codes of calls that somebody else has made impossible, or that last
// too long.
var expectedCodes = []int32{-14002, -14003, -14004, -14006, -14007, -14008}

// note takes note of a token, which nobody has been given before.
func (c *workers) recordGrant(name string, got grant) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, ok := c.granted[got]; ok || got.rev == 0 {
		return fmt.Errorf("he has the token of %+v, which %q has", got, other)
	}
	c.granted[got] = name
	return nil
}

// watch opens a stream as soon as begin is closed, and reads it as soon as read is.
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

// learn follows a stream to the end, and compares what it has told with what there is.
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

// present is what getLock tells of the channels: all locks, or those that the owner has.
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

// conclude lets there be the locks by which streams are known to be at an end, the one of
// all channels as the last.
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

// checkQueues checks that calls which have ended do not wait any more, and that nobody
// holds what he was not told of.
func (c *workers) checkFinalState() {
	for _, room := range channels {
		for _, l := range c.userAt(0, "dora").locks(room) {
			c.waitForWaiters(room.withLock(l.name), 0)
			l.channel, l.kind = room.channel, room.kind
			told := c.granted[grant{idOf(l), l.rev}]
			if isDirect(c.apis[0]) && l.owner != told && !strings.HasPrefix(l.name, endMarker) { // else an answer may get lost
				c.Errorf("%s holds %+v, and was not told", l.owner, l)
			}
		}
	}
}

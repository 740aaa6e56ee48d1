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
	seeds  = 3
	people = 6
	doings = 60 // of each
	locks  = 3  // of each channel
	ending = "~ the end"
)

// rooms are the channels.
var rooms = []ask{
	{store: component, channel: "house", kind: messageType, ttl: 300},
	{store: component, channel: "house", kind: streamType, ttl: 300},
	{store: component, channel: "garden", kind: messageType, ttl: 300},
}

// crowd is people who use locks at random, and others who are told of it.
type crowd struct {
	*world
	seed   int64
	naps   time.Duration // how long people rest at most between two calls
	half   chan struct{} // closed when the first has done half of it
	done   chan struct{} // closed when all have done all
	follow sync.WaitGroup

	mu   sync.Mutex
	told map[grant]string // who was told that he got a lock
}

// grant is a lock and the token of whoever got it.
type grant struct {
	spot
	rev uint64
}

func TestEventsTellWhatThereIs(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		for seed := range int64(seeds) {
			p.run(t, fmt.Sprintf("seed %d", seed), func(w *world) { newCrowd(w, seed).play() })
		}
	})
}

func TestEventsTellWhatThereIsThroughTwoProcesses(t *testing.T) {
	server := startRedis(t)
	for _, d := range apis {
		for seed := range int64(seeds) {
			t.Run(fmt.Sprintf("%s, seed %d", d.name, seed), func(t *testing.T) {
				newCrowd(place{d.open, server}.create(t, patience, nil, 2), seed).play()
			})
		}
	}
}

// TestEventsTellWhatThereIsWhenLocksExpire has people who are never online and rest for
// longer than they keep their locks.
func TestEventsTellWhatThereIsWhenLocksExpire(t *testing.T) {
	for _, d := range apis {
		for seed := range int64(seeds) {
			t.Run(fmt.Sprintf("%s, seed %d", d.name, seed), func(t *testing.T) {
				place{d.open, nil}.alone(t, map[string]string{"rtmMinTTL": "1s", "rtmMaxTTL": "1s"}, func(w *world) {
					c := newCrowd(w, seed)
					c.naps = time.Second
					c.play()
				})
			})
		}
	}
}

func newCrowd(w *world, seed int64) *crowd {
	return &crowd{world: w, seed: seed, half: make(chan struct{}), done: make(chan struct{}), told: map[grant]string{}}
}

// at returns a user at one of the ways in.
func (c *crowd) at(i int, name string) user { return user{c.world, c.apis[i%len(c.apis)], name} }

// play lets all do what they do, and then checks what those know who were told.
func (c *crowd) play() {
	now := make(chan struct{})
	close(now)
	for i, room := range rooms {
		for j, watcher := range []struct{ begin, read chan struct{} }{
			{now, now}, {c.half, c.half}, {now, c.done}, {now, c.half},
		} {
			c.watch(c.at(i+j, fmt.Sprint("watcher ", j)), subscribe, room, watcher.begin, watcher.read)
		}
	}
	var crowd sync.WaitGroup
	for i := range people {
		u := c.at(i, fmt.Sprint("user ", i))
		if i%2 == 0 {
			c.watch(c.at(i/2, u.name), session, ask{store: component}, now, now)
		}
		crowd.Go(func() { c.live(u, rand.New(rand.NewPCG(uint64(c.seed), uint64(i)))) })
	}
	crowd.Wait()
	close(c.done)
	c.conclude()
	c.follow.Wait()
	c.checkQueues()
}

// live lets a user do something many times.
func (c *crowd) live(u user, dice *rand.Rand) {
	for i := range doings {
		if i == doings/2 && u.name == "user 0" {
			close(c.half)
		}
		time.Sleep(time.Duration(dice.Float64() * float64(c.naps)))
		if err := c.do(u, dice); err != nil {
			c.Errorf("%s: %v", u.name, err)
		}
	}
}

// choices are the calls, those that are frequent several times.
var choices = []string{
	setLock, setLock, acquireLock, acquireLock, acquireLock, acquireLock, acquireLock, releaseLock, releaseLock, releaseLock,
	revokeLock, removeLock,
}

// do lets a user make a call, for which he has not always the patience.
func (c *crowd) do(u user, dice *rand.Rand) error {
	operation := choices[dice.IntN(len(choices))]
	a := rooms[dice.IntN(len(rooms))].other(fmt.Sprint("lock ", dice.IntN(locks)))
	a.retry = dice.IntN(2) == 0
	if dice.IntN(2) == 0 {
		a.owner = fmt.Sprint("user ", dice.IntN(people))
	}
	ctx, cancel := c.ctx, context.CancelFunc(func() {})
	if operation == acquireLock && a.retry {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(1+dice.IntN(20))*time.Millisecond)
	}
	defer cancel()
	got, err := u.callIn(ctx, operation, a)
	if operation == acquireLock && err == nil {
		return c.note(u.name, grant{spotOf(got.lock), got.rev})
	}
	if f, ok := errors.AsType[*failure](err); ok && slices.Contains(refusals, f.code) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// refusals are the codes of calls that somebody else has made impossible, or that last
// too long.
var refusals = []int32{-14002, -14003, -14004, -14006, -14007, -14008}

// note takes note of a token, which nobody has been given before.
func (c *crowd) note(name string, got grant) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, ok := c.told[got]; ok || got.rev == 0 {
		return fmt.Errorf("he has the token of %+v, which %q has", got, other)
	}
	c.told[got] = name
	return nil
}

// watch opens a stream as soon as begin is closed, and reads it as soon as read is.
func (c *crowd) watch(u user, operation string, a ask, begin, read chan struct{}) {
	a.user = u.name
	opened := make(chan struct{})
	c.follow.Go(func() {
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
		if err := c.learn(u, operation, a, s); err != nil {
			c.Errorf("%s's %s of %s: %v", u.name, operation, a.channel, err)
		}
	})
	if begin != c.half {
		<-opened
	}
}

// learn follows a stream to the end, and compares what it has told with what there is.
func (c *crowd) learn(u user, operation string, a ask, s stream) error {
	if operation == subscribe {
		r := newReplica("")
		if err := r.follow(s, ending); err != nil {
			return err
		}
		return r.compare(c.present(u, "", a))
	}
	r := newReplica(u.name)
	if err := r.follow(s, ending+" of "+u.name); err != nil {
		return err
	}
	return r.compare(c.present(u, u.name, rooms...))
}

// present is what getLock tells of the channels: all locks, or those that the owner has.
func (c *crowd) present(u user, owner string, channels ...ask) map[spot]lock {
	present := map[spot]lock{}
	for _, a := range channels {
		got, err := u.call(getLock, a)
		if err != nil {
			c.Errorf("getLock: %v", err)
		}
		for _, l := range got.locks {
			if l.channel, l.kind = a.channel, a.kind; owner == "" || l.owner == owner {
				present[spotOf(l)] = l
			}
		}
	}
	return present
}

// conclude lets there be the locks by which streams are known to be at an end, the one of
// all channels as the last.
func (c *crowd) conclude() {
	for i := 0; i < people; i += 2 {
		u := c.at(i, fmt.Sprint("user ", i))
		end := rooms[0].other(ending + " of " + u.name)
		u.must(setLock, end)
		u.must(acquireLock, end)
	}
	for i, room := range rooms {
		c.at(i, "user 0").must(setLock, room.other(ending))
	}
}

// checkQueues checks that calls which have ended do not wait any more, and that nobody
// holds what he was not told of.
func (c *crowd) checkQueues() {
	for _, room := range rooms {
		for _, l := range c.at(0, "dora").locks(room) {
			c.queue(room.other(l.name), 0)
			l.channel, l.kind = room.channel, room.kind
			told := c.told[grant{spotOf(l), l.rev}]
			if isDirect(c.apis[0]) && l.owner != told && !strings.HasPrefix(l.name, ending) { // else an answer may get lost
				c.Errorf("%s holds %+v, and was not told", l.owner, l)
			}
		}
	}
}

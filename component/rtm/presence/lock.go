package presence

import (
	"fmt"
	"slices"
	"strings"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// keyPrefix is the common prefix of the keys of all channels.
const keyPrefix = "rtm||"

// Channel identifies a channel, to which locks belong. Channels of different types are
// different even if their names are equal.
type Channel struct {
	Kind rtmpb.ChannelType
	Name string
}

// Lock identifies a lock.
type Lock struct {
	Channel
	Name string
}

// Names are escaped, because a separator in a name could make two keys equal.
var (
	escape   = strings.NewReplacer("%", "%25", "|", "%7C")
	unescape = strings.NewReplacer("%25", "%", "%7C", "|")
)

// Group returns the channel's group in a store.
func (c Channel) Group() string {
	return fmt.Sprintf("%s%d||%s||", keyPrefix, c.Kind, escape.Replace(c.Name))
}

// Key returns the lock's key in a store.
func (l Lock) Key() string { return l.Group() + escape.Replace(l.Name) }

// ParseKey returns the lock with this key, and false if no lock of a channel can have it.
func ParseKey(key string) (Lock, bool) {
	parts := strings.Split(key, "||")
	if len(parts) != 4 {
		return Lock{}, false
	}
	l := Lock{Channel{Name: unescape.Replace(parts[2])}, unescape.Replace(parts[3])}
	for _, kind := range []rtmpb.ChannelType{rtmpb.ChannelType_MESSAGE, rtmpb.ChannelType_STREAM} {
		if l.Kind = kind; l.Key() == key {
			return l, true
		}
	}
	return Lock{}, false
}

// HeldLock is a lock with its owner.
type HeldLock struct {
	Lock
	Owner string        // empty if the lock is free
	TTL   time.Duration // as declared; zero if it is unknown
	Rev   uint64        // token of the grant to the owner
}

// event returns an event about the lock.
func (o HeldLock) event(kind rtmpb.LockEvent_Type) *rtmpb.LockEvent {
	return &rtmpb.LockEvent{
		EventType: kind, Channel: o.Channel.Name, ChannelType: o.Kind, LockName: o.Name,
		Owner: o.Owner, Ttl: Seconds(o.TTL), LockRev: o.Rev,
	}
}

// Detail returns the lock for a list of the locks of a channel.
func (o HeldLock) Detail() *rtmpb.LockDetail {
	return &rtmpb.LockDetail{LockName: o.Name, Owner: o.Owner, Ttl: Seconds(o.TTL), LockRev: o.Rev}
}

// DetailWithChannel returns the lock for a list of the locks of an owner.
func (o HeldLock) DetailWithChannel() *rtmpb.LockDetail {
	d := o.Detail()
	d.Channel, d.ChannelType = o.Channel.Name, o.Kind
	return d
}

// DetailsWithChannel returns the locks for a list of the locks of an owner.
func DetailsWithChannel(all []HeldLock) []*rtmpb.LockDetail {
	var details []*rtmpb.LockDetail
	for _, o := range all {
		details = append(details, o.DetailWithChannel())
	}
	return details
}

// dedupe removes all but the first element for each lock.
func dedupe(all []HeldLock) []HeldLock {
	seen := map[Lock]bool{}
	return slices.DeleteFunc(all, func(o HeldLock) bool {
		duplicate := seen[o.Lock]
		seen[o.Lock] = true
		return duplicate
	})
}

// except removes the grants that are also among known: the same lock with the same rev.
func except(all, known []HeldLock) []HeldLock {
	type grant struct {
		Lock
		rev uint64
	}
	skip := map[grant]bool{}
	for _, o := range known {
		skip[grant{o.Lock, o.Rev}] = true
	}
	return slices.DeleteFunc(all, func(o HeldLock) bool { return skip[grant{o.Lock, o.Rev}] })
}

// Seconds returns the TTL as messages have it, rounded up.
func Seconds(ttl time.Duration) uint32 { return uint32((ttl + time.Second - 1) / time.Second) }

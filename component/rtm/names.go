package rtm

import (
	"fmt"
	"strings"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

const (
	// maxNameLen bounds the names of channels, locks and users, in bytes.
	maxNameLen = 64
	// symbols are what such a name may have besides letters of ASCII and digits. RTM's
	// newer clients refuse the backtick, which its documentation allows.
	symbols = " !#$%&()+,-:;<=>?@[]^_{|}~`"
	// keyPrefix begins the keys of all locks of all channels.
	keyPrefix = "rtm||"
)

// channel is what locks belong to. Channels of one name and different types have nothing in common.
type channel struct {
	kind rtmpb.ChannelType
	name string
}

// lock is the name of a lock.
type lock struct {
	channel
	name string
}

// A separator in a name would let two channels have one key.
var (
	escape   = strings.NewReplacer("%", "%25", "|", "%7C")
	unescape = strings.NewReplacer("%25", "%", "%7C", "|")
)

// group is the channel's name in a store.
func (c channel) group() string {
	return fmt.Sprintf("%s%d||%s||", keyPrefix, c.kind, escape.Replace(c.name))
}

// key is the lock's name in a store.
func (l lock) key() string { return l.group() + escape.Replace(l.name) }

// parseKey returns the lock that has this key. It returns false for a key that no lock of a channel has.
func parseKey(key string) (lock, bool) {
	parts := strings.Split(key, "||")
	if len(parts) != 4 {
		return lock{}, false
	}
	l := lock{channel{name: unescape.Replace(parts[2])}, unescape.Replace(parts[3])}
	for _, kind := range []rtmpb.ChannelType{rtmpb.ChannelType_MESSAGE, rtmpb.ChannelType_STREAM} {
		if l.kind = kind; l.key() == key {
			return l, true
		}
	}
	return lock{}, false
}

// inChannel is what every message has that is about a channel.
type channelMessage interface {
	GetChannel() string
	GetChannelType() rtmpb.ChannelType
}

// ofLock is what every message has that is about a lock.
type lockMessage interface {
	channelMessage
	GetLockName() string
}

// channelOf reads the channel that a message is about.
func channelOf(m channelMessage) (channel, error) {
	if fault := nameProblem(m.GetChannel()); fault != "" {
		return channel{}, invalid(invalidChannelName, "channel", fault)
	}
	kind := m.GetChannelType()
	if kind != rtmpb.ChannelType_MESSAGE && kind != rtmpb.ChannelType_STREAM {
		return channel{}, invalid(invalidChannelType, "channelType", fmt.Sprintf("is %v, must be MESSAGE or STREAM", kind))
	}
	return channel{kind, m.GetChannel()}, nil
}

// lockOf reads the lock that a message is about.
func lockOf(m lockMessage) (lock, error) {
	c, err := channelOf(m)
	if err != nil {
		return lock{}, err
	}
	if fault := nameProblem(m.GetLockName()); fault != "" {
		return lock{}, invalid(lockInvalidName, "lockName", fault)
	}
	return lock{c, m.GetLockName()}, nil
}

// nameFault tells what is wrong with a name, or nothing.
func nameProblem(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxNameLen:
		return fmt.Sprintf("is %d bytes long, the most is %d", len(name), maxNameLen)
	case name[0] == '_':
		return "begins with an underscore"
	}
	if i := strings.IndexFunc(name, isForbidden); i >= 0 {
		return fmt.Sprintf("has a character that is not allowed, %.1q", name[i:])
	}
	return ""
}

func isForbidden(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune(symbols, r)
}

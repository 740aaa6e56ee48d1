package rtm

import (
	"fmt"
	"strings"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

const (
	// maxNameLen bounds the names of channels, locks and users, in bytes.
	maxNameLen = 64
	// symbols are the characters that names may contain besides ASCII letters and digits.
	// RTM's newer clients reject the backtick, which its documentation allows.
	symbols = " !#$%&()+,-:;<=>?@[]^_{|}~`"
	// keyPrefix is the common prefix of the keys of all channels.
	keyPrefix = "rtm||"
)

// channel identifies a channel, to which locks belong. Channels of different types are
// different even if their names are equal.
type channel struct {
	kind rtmpb.ChannelType
	name string
}

// lock identifies a lock.
type lock struct {
	channel
	name string
}

// Names are escaped, because a separator in a name could make two keys equal.
var (
	escape   = strings.NewReplacer("%", "%25", "|", "%7C")
	unescape = strings.NewReplacer("%25", "%", "%7C", "|")
)

// group returns the channel's group in a store.
func (c channel) group() string {
	return fmt.Sprintf("%s%d||%s||", keyPrefix, c.kind, escape.Replace(c.name))
}

// key returns the lock's key in a store.
func (l lock) key() string { return l.group() + escape.Replace(l.name) }

// parseKey returns the lock with this key, and false if no lock of a channel can have it.
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

// channelMessage is a message about a channel.
type channelMessage interface {
	GetChannel() string
	GetChannelType() rtmpb.ChannelType
}

// lockMessage is a message about a lock.
type lockMessage interface {
	channelMessage
	GetLockName() string
}

// channelOf returns the channel that a message is about, or an error that names a field.
func channelOf(m channelMessage) (channel, error) {
	if problem := nameProblem(m.GetChannel()); problem != "" {
		return channel{}, invalid(invalidChannelName, "channel", problem)
	}
	kind := m.GetChannelType()
	if kind != rtmpb.ChannelType_MESSAGE && kind != rtmpb.ChannelType_STREAM {
		return channel{}, invalid(invalidChannelType, "channelType", fmt.Sprintf("must be MESSAGE or STREAM, got %v", kind))
	}
	return channel{kind, m.GetChannel()}, nil
}

// lockOf returns the lock that a message is about, or an error that names a field.
func lockOf(m lockMessage) (lock, error) {
	c, err := channelOf(m)
	if err != nil {
		return lock{}, err
	}
	if problem := nameProblem(m.GetLockName()); problem != "" {
		return lock{}, invalid(lockInvalidName, "lockName", problem)
	}
	return lock{c, m.GetLockName()}, nil
}

// nameProblem returns why a name is invalid, or "".
func nameProblem(name string) string {
	switch {
	case name == "":
		return "must not be empty"
	case len(name) > maxNameLen:
		return fmt.Sprintf("must be at most %d bytes, got %d", maxNameLen, len(name))
	case name[0] == '_':
		return "must not begin with an underscore"
	}
	if i := strings.IndexFunc(name, isForbidden); i >= 0 {
		return fmt.Sprintf("must not contain the character %.1q", name[i:])
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

package rtm

import (
	"fmt"
	"strings"

	"github.com/mortise-lock/mortise/component/rtm/presence"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

const (
	// maxNameLen bounds the names of channels, locks and users, in bytes.
	maxNameLen = 64
	// symbols are the characters that names may contain besides ASCII letters and digits.
	// RTM's newer clients reject the backtick, which its documentation allows.
	symbols = " !#$%&()+,-:;<=>?@[]^_{|}~`"
)

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
func channelOf(m channelMessage) (presence.Channel, error) {
	if problem := nameProblem(m.GetChannel()); problem != "" {
		return presence.Channel{}, invalid(invalidChannelName, "channel", problem)
	}
	kind := m.GetChannelType()
	if kind != rtmpb.ChannelType_MESSAGE && kind != rtmpb.ChannelType_STREAM {
		return presence.Channel{}, invalid(invalidChannelType, "channelType", fmt.Sprintf("must be MESSAGE or STREAM, got %v", kind))
	}
	return presence.Channel{Kind: kind, Name: m.GetChannel()}, nil
}

// lockOf returns the lock that a message is about, or an error that names a field.
func lockOf(m lockMessage) (presence.Lock, error) {
	c, err := channelOf(m)
	if err != nil {
		return presence.Lock{}, err
	}
	if problem := nameProblem(m.GetLockName()); problem != "" {
		return presence.Lock{}, invalid(lockInvalidName, "lockName", problem)
	}
	return presence.Lock{Channel: c, Name: m.GetLockName()}, nil
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

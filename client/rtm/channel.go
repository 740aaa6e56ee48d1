package rtm

import (
	"fmt"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// Channel is a namespace of locks. Channels of the same name and different types are
// independent.
type Channel struct {
	Type ChannelType
	Name string
}

// ChannelType is the type of a channel. Its values are RTM's.
type ChannelType int32

// The channel types that have locks.
const (
	MessageChannel = ChannelType(rtmpb.ChannelType_MESSAGE)
	StreamChannel  = ChannelType(rtmpb.ChannelType_STREAM)
)

// String returns "MESSAGE" or "STREAM".
func (t ChannelType) String() string { return t.wire().String() }

func (t ChannelType) wire() rtmpb.ChannelType { return rtmpb.ChannelType(t) }

// Message returns the message channel with the name.
func Message(name string) Channel { return Channel{MessageChannel, name} }

// Stream returns the stream channel with the name.
func Stream(name string) Channel { return Channel{StreamChannel, name} }

// String returns the type and the name: `MESSAGE "my_channel"`.
func (c Channel) String() string { return fmt.Sprintf("%v %q", c.Type, c.Name) }

// lockID identifies a lock.
type lockID struct {
	channel Channel
	name    string
}

func (id lockID) String() string { return fmt.Sprintf("lock %q of %v", id.name, id.channel) }

// Detail is the state of a lock.
type Detail struct {
	Channel Channel
	Name    string
	Owner   string        // the name of a user; empty if the lock is free
	TTL     time.Duration // how long an owner that is offline keeps the lock
	Rev     uint64        // the owner's fencing token; 0 if the lock is free
}

func (d Detail) id() lockID { return lockID{d.Channel, d.Name} }

// wire returns the wire form of the lock.
func (d Detail) wire() *rtmpb.LockDetail {
	return &rtmpb.LockDetail{
		LockName: d.Name, Owner: d.Owner, Ttl: uint32(d.TTL / time.Second), LockRev: d.Rev,
		Channel: d.Channel.Name, ChannelType: d.Channel.Type.wire(),
	}
}

// message has the accessors that all messages about a lock have in common.
type message interface {
	GetChannel() string
	GetChannelType() rtmpb.ChannelType
	GetLockName() string
	GetTtl() uint32
	GetLockRev() uint64
}

// detailFromProto returns the lock of a message.
func detailFromProto(m message, owner string) Detail {
	return Detail{
		Channel: Channel{ChannelType(m.GetChannelType()), m.GetChannel()},
		Name:    m.GetLockName(), Owner: owner, TTL: time.Duration(m.GetTtl()) * time.Second, Rev: m.GetLockRev(),
	}
}

// detailsFromProto returns the locks of one channel.
func detailsFromProto(rows []*rtmpb.LockDetail, channel Channel) []Detail {
	details := make([]Detail, len(rows))
	for i, row := range rows {
		details[i] = detailFromProto(row, row.GetOwner())
		details[i].Channel = channel
	}
	return details
}

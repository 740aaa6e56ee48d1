package rtm

import (
	"fmt"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// Channel is what locks belong to. Channels of one name and different types have nothing
// in common.
type Channel struct {
	Type ChannelType
	Name string
}

// ChannelType is the kind of a channel, with RTM's number.
type ChannelType int32

// The types of channels that have locks.
const (
	MessageChannel = ChannelType(rtmpb.ChannelType_MESSAGE)
	StreamChannel  = ChannelType(rtmpb.ChannelType_STREAM)
)

// String returns "MESSAGE" or "STREAM".
func (t ChannelType) String() string { return t.wire().String() }

func (t ChannelType) wire() rtmpb.ChannelType { return rtmpb.ChannelType(t) }

// Message returns the message channel of that name.
func Message(name string) Channel { return Channel{MessageChannel, name} }

// Stream returns the stream channel of that name.
func Stream(name string) Channel { return Channel{StreamChannel, name} }

// String returns type and name: `MESSAGE "my_channel"`.
func (c Channel) String() string { return fmt.Sprintf("%v %q", c.Type, c.Name) }

// lockID is which lock. The locks of one channel differ by name.
type lockID struct {
	channel Channel
	name    string
}

func (id lockID) String() string { return fmt.Sprintf("lock %q of %v", id.name, id.channel) }

// Detail is what there is to know about a lock.
type Detail struct {
	Channel Channel
	Name    string
	Owner   string        // the user who has it; empty if it is free
	TTL     time.Duration // how long a user keeps it who is offline
	Rev     uint64        // the owner's fencing token; 0 if it is free
}

func (d Detail) id() lockID { return lockID{d.Channel, d.Name} }

// wire is the lock as something that the user holds.
func (d Detail) wire() *rtmpb.LockDetail {
	return &rtmpb.LockDetail{
		LockName: d.Name, Owner: d.Owner, Ttl: uint32(d.TTL / time.Second), LockRev: d.Rev,
		Channel: d.Channel.Name, ChannelType: d.Channel.Type.wire(),
	}
}

// message is what every message has that is about a lock.
type message interface {
	GetChannel() string
	GetChannelType() rtmpb.ChannelType
	GetLockName() string
	GetTtl() uint32
	GetLockRev() uint64
}

// detailFromProto reads what a message says of a lock.
func detailFromProto(m message, owner string) Detail {
	return Detail{
		Channel: Channel{ChannelType(m.GetChannelType()), m.GetChannel()},
		Name:    m.GetLockName(), Owner: owner, TTL: time.Duration(m.GetTtl()) * time.Second, Rev: m.GetLockRev(),
	}
}

// detailsFromProto reads the locks of one channel.
func detailsFromProto(rows []*rtmpb.LockDetail, channel Channel) []Detail {
	details := make([]Detail, len(rows))
	for i, row := range rows {
		details[i] = detailFromProto(row, row.GetOwner())
		details[i].Channel = channel
	}
	return details
}

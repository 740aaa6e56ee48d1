package rtm

import (
	"context"
	"fmt"
	"math"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// SetLock lets a free lock exist, and returns its TTL: in whole seconds, rounded up, and
// taken to the nearest that Mortise allows, by default 10 to 300 s. A ttl of 0 is the
// default one, 10 s. It fails with [ErrLockAlreadyExist], which leaves the lock as it is,
// or with [ErrOperationFailed] if the channel has as many locks as it may have.
func (u *User) SetLock(ctx context.Context, channel Channel, name string, ttl time.Duration) (time.Duration, error) {
	if ttl < 0 || ttl > math.MaxInt32*time.Second {
		reason := fmt.Sprintf("ttl is %v, must be 0s to %v", ttl, math.MaxInt32*time.Second)
		return 0, &Error{Code: ErrInvalidParameter, Operation: opSet, Reason: reason}
	}
	resp, err := callWithTimeout(ctx, u, opSet, u.rpc.SetLock, &rtmpb.SetLockRequest{
		Store: u.store, User: u.name, Channel: channel.Name, ChannelType: channel.Type.wire(), LockName: name,
		Ttl: uint32((ttl + time.Second - 1) / time.Second),
	})
	return detailFromProto(resp, "").TTL, err
}

// RevokeLock takes the lock from the owner, or if owner is empty from whoever holds it,
// and the next who waits gets it. It fails with [ErrLockNotAcquired] if that owner does
// not hold it, and with [ErrLockNotExist].
func (u *User) RevokeLock(ctx context.Context, channel Channel, name, owner string) error {
	own := u.lockByID(lockID{channel, name})
	_, err := callWithTimeout(ctx, u, opRevoke, u.rpc.RevokeLock, &rtmpb.RevokeLockRequest{
		Store: u.store, User: u.name, Channel: channel.Name, ChannelType: channel.Type.wire(), LockName: name, Owner: owner,
	})
	if err == nil {
		u.endConfirmed(own, ErrRevoked) // whoever was the owner: he is not
	}
	return err
}

// RemoveLock ends the lock's existence, held or not, or fails with [ErrLockNotExist].
func (u *User) RemoveLock(ctx context.Context, channel Channel, name string) error {
	own := u.lockByID(lockID{channel, name})
	_, err := callWithTimeout(ctx, u, opRemove, u.rpc.RemoveLock, &rtmpb.RemoveLockRequest{
		Store: u.store, User: u.name, Channel: channel.Name, ChannelType: channel.Type.wire(), LockName: name,
	})
	if err == nil {
		u.endConfirmed(own, ErrRemoved)
	}
	return err
}

// GetLock returns the channel's locks, held or not, sorted by name.
func (u *User) GetLock(ctx context.Context, channel Channel) ([]Detail, error) {
	resp, err := callWithTimeout(ctx, u, opGet, u.rpc.GetLock, &rtmpb.GetLockRequest{
		Store: u.store, User: u.name, Channel: channel.Name, ChannelType: channel.Type.wire(),
	})
	return detailsFromProto(resp.GetLocks(), channel), err
}

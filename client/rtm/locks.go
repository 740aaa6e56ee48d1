package rtm

import (
	"context"
	"fmt"
	"math"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// SetLock creates a free lock and returns its TTL: ttl rounded up to whole seconds and
// limited to the range that Mortise allows, by default 10 to 300 s. If ttl is 0, the TTL
// is 10 s. SetLock fails with [ErrLockAlreadyExist] if the lock exists, and with
// [ErrOperationFailed] if the channel has the maximum number of locks.
func (u *User) SetLock(ctx context.Context, channel Channel, name string, ttl time.Duration) (time.Duration, error) {
	if ttl < 0 || ttl > math.MaxInt32*time.Second {
		reason := fmt.Sprintf("ttl must be from 0s to %v, got %v", math.MaxInt32*time.Second, ttl)
		return 0, &Error{Code: ErrInvalidParameter, Operation: opSet, Reason: reason}
	}
	resp, err := callWithTimeout(ctx, u, opSet, u.rpc.SetLock, &rtmpb.SetLockRequest{
		Store: u.store, User: u.name, Channel: channel.Name, ChannelType: channel.Type.wire(), LockName: name,
		Ttl: uint32((ttl + time.Second - 1) / time.Second),
	})
	return detailFromProto(resp, "").TTL, err
}

// RevokeLock takes the lock from the owner, or from any owner if owner is empty; the next
// waiter acquires it. It fails with [ErrLockNotAcquired] if that owner does not hold the
// lock, and with [ErrLockNotExist] if the lock does not exist.
func (u *User) RevokeLock(ctx context.Context, channel Channel, name, owner string) error {
	own := u.lockByID(lockID{channel, name})
	_, err := callWithTimeout(ctx, u, opRevoke, u.rpc.RevokeLock, &rtmpb.RevokeLockRequest{
		Store: u.store, User: u.name, Channel: channel.Name, ChannelType: channel.Type.wire(), LockName: name, Owner: owner,
	})
	if err == nil {
		u.endConfirmed(own, ErrRevoked) // the user is certainly not the owner
	}
	return err
}

// RemoveLock removes the lock, held or not. It fails with [ErrLockNotExist] if the lock
// does not exist.
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

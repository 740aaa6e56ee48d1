package rtm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mortise-lock/mortise/component/rtm/presence"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

// SetLock declares a lock, which is free.
func (s *Service) SetLock(ctx context.Context, m *rtmpb.SetLockRequest) (*rtmpb.LockResponse, error) {
	return s.runOnLock(ctx, "RTMSetLockOperation", m, func(u presence.User, l presence.Lock) (*rtmpb.LockResponse, error) {
		config, err := parseConfig(u.Store.Metadata())
		if err != nil {
			return nil, err
		}
		d := stores.Declaration{Group: l.Group(), Key: l.Key(), TTL: config.ttl(m.GetTtl()), Limit: config.LocksPerChannel}
		return &rtmpb.LockResponse{Ttl: presence.Seconds(d.TTL)}, s.do(ctx, u, func(ctx context.Context, store stores.Store) error {
			return stores.Declare(ctx, store, d)
		})
	})
}

// ReleaseLock releases the user's lock, or ends the user's wait for it.
func (s *Service) ReleaseLock(ctx context.Context, m *rtmpb.ReleaseLockRequest) (*rtmpb.LockResponse, error) {
	return s.runOnLock(ctx, "RTMReleaseLockOperation", m, func(u presence.User, l presence.Lock) (*rtmpb.LockResponse, error) {
		return &rtmpb.LockResponse{}, s.do(ctx, u, func(ctx context.Context, store stores.Store) error {
			return explain(ctx, store, l, stores.Unlock(ctx, store, l.Key(), u.Name))
		})
	})
}

// RevokeLock releases the lock if the given owner holds it, or whatever owner holds it if
// none is given.
func (s *Service) RevokeLock(ctx context.Context, m *rtmpb.RevokeLockRequest) (*rtmpb.LockResponse, error) {
	return s.runOnLock(ctx, "RTMRevokeLockOperation", m, func(u presence.User, l presence.Lock) (*rtmpb.LockResponse, error) {
		if problem := nameProblem(m.GetOwner()); m.GetOwner() != "" && problem != "" {
			return nil, invalid(invalidUserID, "owner", problem)
		}
		return &rtmpb.LockResponse{}, s.do(ctx, u, func(ctx context.Context, store stores.Store) error {
			return explain(ctx, store, l, stores.Revoke(ctx, store, l.Key(), m.GetOwner()))
		})
	})
}

// explain replaces ErrNotHeld by ErrNotDeclared if the lock does not exist. It queries
// the store after the failed call. That is consistent, because the lock had no owner
// during the call and the result was true at some time during the operation.
func explain(ctx context.Context, store stores.Store, l presence.Lock, err error) error {
	if !errors.Is(err, stores.ErrNotHeld) {
		return err
	}
	locks, failed := stores.Group(ctx, store, l.Group())
	if failed != nil {
		return failed
	}
	if !slices.ContainsFunc(locks, func(row stores.LockInfo) bool { return row.Key == l.Key() }) {
		return fmt.Errorf("%q: %w", l.Name, stores.ErrNotDeclared)
	}
	return err
}

// RemoveLock removes the lock, also while it is held.
func (s *Service) RemoveLock(ctx context.Context, m *rtmpb.RemoveLockRequest) (*rtmpb.LockResponse, error) {
	return s.runOnLock(ctx, "RTMRemoveLockOperation", m, func(u presence.User, l presence.Lock) (*rtmpb.LockResponse, error) {
		return &rtmpb.LockResponse{}, s.do(ctx, u, func(ctx context.Context, store stores.Store) error {
			return stores.Withdraw(ctx, store, l.Group(), l.Key())
		})
	})
}

// GetLock returns all locks of a channel.
func (s *Service) GetLock(ctx context.Context, m *rtmpb.GetLockRequest) (*rtmpb.GetLockResponse, error) {
	response, err := s.getLock(ctx, m)
	return response, StatusError("RTMGetLockOperation", err)
}

func (s *Service) getLock(ctx context.Context, m *rtmpb.GetLockRequest) (*rtmpb.GetLockResponse, error) {
	c, err := channelOf(m)
	if err != nil {
		return nil, err
	}
	u, err := s.userOf(ctx, m)
	if err != nil {
		return nil, err
	}
	response := &rtmpb.GetLockResponse{Channel: c.Name, ChannelType: c.Kind}
	err = s.do(ctx, u, func(ctx context.Context, store stores.Store) error {
		locks, err := stores.Group(ctx, store, c.Group())
		for _, row := range locks {
			if l, ok := presence.ParseKey(row.Key); ok {
				h := presence.HeldLock{Lock: l, Owner: row.Owner, TTL: row.DeclaredTTL, Rev: row.Token}
				response.Locks = append(response.Locks, h.Detail())
			}
		}
		return err
	})
	// The store sorts by key. Keys contain escaped names, whose order differs.
	byName := func(a, b *rtmpb.LockDetail) int { return cmp.Compare(a.GetLockName(), b.GetLockName()) }
	slices.SortFunc(response.Locks, byName)
	response.TotalLocks = uint32(len(response.Locks))
	return response, err
}

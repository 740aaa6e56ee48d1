package rtm

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/mortise-lock/mortise/component/rtm/internal/parallel"
	"github.com/mortise-lock/mortise/component/rtm/presence"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

// readClaims returns the user of the message, and the locks that the user's client
// assumes to hold.
func (s *Service) readClaims(ctx context.Context, m interface {
	request
	GetHeld() []*rtmpb.LockDetail
}) (presence.User, []presence.HeldLock, error) {
	var claims []presence.HeldLock
	for i, d := range m.GetHeld() {
		l, err := lockOf(d)
		if err != nil {
			return presence.User{}, nil, fmt.Errorf("held[%d]: %w", i, err)
		}
		claims = append(claims, presence.HeldLock{Lock: l, Owner: m.GetUser(), Rev: d.GetLockRev()})
	}
	u, err := s.userOf(ctx, m)
	return u, claims, err
}

// checker returns a function that compares claims of the user with the store.
func (s *Service) checker(u presence.User) presence.CheckFunc {
	return func(ctx context.Context, claims []presence.HeldLock) (right, wrong []presence.HeldLock, err error) {
		return s.checkClaims(ctx, u, claims)
	}
}

// checkClaims returns which of the claims are right and which are wrong. A claim without
// a rev is right if the user holds the lock.
func (s *Service) checkClaims(ctx context.Context, u presence.User, claims []presence.HeldLock) (right, wrong []presence.HeldLock, err error) {
	rows, err := s.lockInfos(ctx, u, claims)
	for _, c := range claims {
		row := rows[c.Key()]
		c.TTL = row.DeclaredTTL
		if row.Owner == c.Owner && (c.Rev == 0 || c.Rev == row.Token) {
			c.Rev = row.Token
			right = append(right, c)
		} else {
			wrong = append(wrong, c)
		}
	}
	return right, wrong, err
}

// lockInfos returns the locks of all channels of the claims by key. It queries the store
// once for each channel.
func (s *Service) lockInfos(ctx context.Context, u presence.User, claims []presence.HeldLock) (map[string]stores.LockInfo, error) {
	groups := map[string]bool{}
	for _, c := range claims {
		groups[c.Group()] = true
	}
	if len(groups) == 0 {
		return nil, nil
	}
	var mu sync.Mutex
	rows := map[string]stores.LockInfo{}
	err := s.do(ctx, u, func(ctx context.Context, store stores.Store) error {
		return parallel.ForEach(slices.Collect(maps.Keys(groups)), func(group string) error {
			locks, err := stores.Group(ctx, store, group)
			mu.Lock()
			defer mu.Unlock()
			for _, row := range locks {
				rows[row.Key] = row
			}
			return err
		})
	})
	return rows, err
}

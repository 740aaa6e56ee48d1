package rtm

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	"github.com/mortise-lock/mortise/stores"
)

// heldLock is a lock with its owner.
type heldLock struct {
	lock
	owner string        // empty if the lock is free
	ttl   time.Duration // as declared; zero if it is unknown
	rev   uint64        // token of the grant to the owner
}

// event returns an event about the lock.
func (o heldLock) event(kind rtmpb.LockEvent_Type) *rtmpb.LockEvent {
	return &rtmpb.LockEvent{
		EventType: kind, Channel: o.channel.name, ChannelType: o.kind, LockName: o.name,
		Owner: o.owner, Ttl: seconds(o.ttl), LockRev: o.rev,
	}
}

// detail returns the lock for a list of the locks of a channel.
func (o heldLock) detail() *rtmpb.LockDetail {
	return &rtmpb.LockDetail{LockName: o.name, Owner: o.owner, Ttl: seconds(o.ttl), LockRev: o.rev}
}

// detailWithChannel returns the lock for a list of the locks of an owner.
func (o heldLock) detailWithChannel() *rtmpb.LockDetail {
	d := o.detail()
	d.Channel, d.ChannelType = o.channel.name, o.kind
	return d
}

func detailsWithChannel(all []heldLock) []*rtmpb.LockDetail {
	var details []*rtmpb.LockDetail
	for _, o := range all {
		details = append(details, o.detailWithChannel())
	}
	return details
}

// dedupe removes all but the first element for each lock.
func dedupe(all []heldLock) []heldLock {
	seen := map[lock]bool{}
	return slices.DeleteFunc(all, func(o heldLock) bool {
		duplicate := seen[o.lock]
		seen[o.lock] = true
		return duplicate
	})
}

// except removes the grants that are also among known: the same lock with the same rev.
func except(all, known []heldLock) []heldLock {
	type grant struct {
		lock
		rev uint64
	}
	skip := map[grant]bool{}
	for _, o := range known {
		skip[grant{o.lock, o.rev}] = true
	}
	return slices.DeleteFunc(all, func(o heldLock) bool { return skip[grant{o.lock, o.rev}] })
}

// readClaims returns the user of the message, and the locks that the user's client
// assumes to hold.
func (s *Service) readClaims(ctx context.Context, m interface {
	request
	GetHeld() []*rtmpb.LockDetail
}) (user, []heldLock, error) {
	var claims []heldLock
	for i, d := range m.GetHeld() {
		l, err := lockOf(d)
		if err != nil {
			return user{}, nil, fmt.Errorf("held[%d]: %w", i, err)
		}
		claims = append(claims, heldLock{lock: l, owner: m.GetUser(), rev: d.GetLockRev()})
	}
	u, err := s.userOf(ctx, m)
	return u, claims, err
}

// checkClaims returns which of the claims are right and which are wrong. A claim without
// a rev is right if the user holds the lock.
func (s *Service) checkClaims(ctx context.Context, u user, claims []heldLock) (right, wrong []heldLock, err error) {
	rows, err := s.lockInfos(ctx, u, claims)
	for _, c := range claims {
		row := rows[c.key()]
		c.ttl = row.DeclaredTTL
		if row.Owner == c.owner && (c.rev == 0 || c.rev == row.Token) {
			c.rev = row.Token
			right = append(right, c)
		} else {
			wrong = append(wrong, c)
		}
	}
	return right, wrong, err
}

// lockInfos returns the locks of all channels of the claims by key. It queries the store
// once for each channel.
func (s *Service) lockInfos(ctx context.Context, u user, claims []heldLock) (map[string]stores.LockInfo, error) {
	groups := map[string]bool{}
	for _, c := range claims {
		groups[c.group()] = true
	}
	if len(groups) == 0 {
		return nil, nil
	}
	var mu sync.Mutex
	rows := map[string]stores.LockInfo{}
	err := s.do(ctx, u, func(ctx context.Context, store stores.Store) error {
		return inParallel(slices.Collect(maps.Keys(groups)), func(group string) error {
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

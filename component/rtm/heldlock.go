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

// holding is a lock and who holds it.
type heldLock struct {
	lock
	owner string        // empty: nobody
	ttl   time.Duration // as declared; zero if it is not known
	rev   uint64        // of the owner
}

// event is an event about the lock.
func (o heldLock) event(what rtmpb.LockEvent_Type) *rtmpb.LockEvent {
	return &rtmpb.LockEvent{
		EventType: what, Channel: o.channel.name, ChannelType: o.kind, LockName: o.name,
		Owner: o.owner, Ttl: seconds(o.ttl), LockRev: o.rev,
	}
}

// detail is the lock as a channel's list has it.
func (o heldLock) detail() *rtmpb.LockDetail {
	return &rtmpb.LockDetail{LockName: o.name, Owner: o.owner, Ttl: seconds(o.ttl), LockRev: o.rev}
}

// ownDetail is the lock as its owner's list has it.
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

// unique is the first of the holdings of each lock.
func dedupe(all []heldLock) []heldLock {
	known := map[lock]bool{}
	return slices.DeleteFunc(all, func(o heldLock) bool {
		again := known[o.lock]
		known[o.lock] = true
		return again
	})
}

// without is those of all that are not among the known: the same lock with the same rev.
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

// claimant reads who the message is from, and what he believes to hold.
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

// check tells which of the claims are right, and which are not. One without a rev is
// right if the user has the lock.
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

// rows returns the locks of all channels of the claims, by key. It asks the store for
// each channel once.
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

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
type holding struct {
	lock
	owner string        // empty: nobody
	ttl   time.Duration // as declared; zero if it is not known
	rev   uint64        // of the owner
}

// event is an event about the lock.
func (o holding) event(what rtmpb.LockEvent_Type) *rtmpb.LockEvent {
	return &rtmpb.LockEvent{
		EventType: what, Channel: o.channel.name, ChannelType: o.kind, LockName: o.name,
		Owner: o.owner, Ttl: seconds(o.ttl), LockRev: o.rev,
	}
}

// detail is the lock as a channel's list has it.
func (o holding) detail() *rtmpb.LockDetail {
	return &rtmpb.LockDetail{LockName: o.name, Owner: o.owner, Ttl: seconds(o.ttl), LockRev: o.rev}
}

// ownDetail is the lock as its owner's list has it.
func (o holding) ownDetail() *rtmpb.LockDetail {
	d := o.detail()
	d.Channel, d.ChannelType = o.channel.name, o.kind
	return d
}

func ownDetails(all []holding) []*rtmpb.LockDetail {
	var details []*rtmpb.LockDetail
	for _, o := range all {
		details = append(details, o.ownDetail())
	}
	return details
}

// unique is the first of the holdings of each lock.
func unique(all []holding) []holding {
	known := map[lock]bool{}
	return slices.DeleteFunc(all, func(o holding) bool {
		again := known[o.lock]
		known[o.lock] = true
		return again
	})
}

// without is those of all that are not among the known: the same lock with the same rev.
func without(all, known []holding) []holding {
	type grant struct {
		lock
		rev uint64
	}
	skip := map[grant]bool{}
	for _, o := range known {
		skip[grant{o.lock, o.rev}] = true
	}
	return slices.DeleteFunc(all, func(o holding) bool { return skip[grant{o.lock, o.rev}] })
}

// claimant reads who the message is from, and what he believes to hold.
func (s *Service) claimant(ctx context.Context, m interface {
	request
	GetHeld() []*rtmpb.LockDetail
}) (user, []holding, error) {
	var claims []holding
	for i, d := range m.GetHeld() {
		l, err := lockOf(d)
		if err != nil {
			return user{}, nil, fmt.Errorf("held[%d]: %w", i, err)
		}
		claims = append(claims, holding{lock: l, owner: m.GetUser(), rev: d.GetLockRev()})
	}
	u, err := s.userOf(ctx, m)
	return u, claims, err
}

// check tells which of the claims are right, and which are not. One without a rev is
// right if the user has the lock.
func (s *Service) check(ctx context.Context, u user, claims []holding) (right, wrong []holding, err error) {
	rows, err := s.rows(ctx, u, claims)
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
func (s *Service) rows(ctx context.Context, u user, claims []holding) (map[string]stores.LockInfo, error) {
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

package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

const (
	groupsKey = "mortise:groups" // the set of the groups that have locks
	// groupBatch is about how many groups are described in one step; Redis serves other
	// clients between the steps.
	groupBatch = 100
)

// Declare implements [stores.Declarer].
func (s *Store) Declare(ctx context.Context, d stores.Declaration) error {
	answer, err := s.runScript(ctx, declareScript, []string{d.Key}, d.Group, millis(d.TTL), d.Limit, s.newRequestID()).Int64()
	if err == nil {
		err = scriptError(answer)
	}
	return wrap(ctx, "declare", d.Key, err)
}

// Withdraw implements [stores.Declarer]. If the answer is lost and the request is
// repeated, the error is ErrNotDeclared although the first attempt withdrew the lock.
func (s *Store) Withdraw(ctx context.Context, group, key string) error {
	return wrap(ctx, "withdraw", key, s.endLock(ctx, withdrawScript, key, group))
}

// Release implements [stores.Declarer]. If the answer is lost and the request is
// repeated, the error is that of Unlock, or ErrNotHeld or ErrNotOwner if the first
// attempt cancelled a wait.
func (s *Store) Release(ctx context.Context, key, owner string) error {
	return wrap(ctx, "release", key, s.endLock(ctx, unlockScript, key, owner, stores.EventReleased.String(), "waits"))
}

// Group implements [stores.Declarer].
func (s *Store) Group(ctx context.Context, group string) ([]stores.LockInfo, error) {
	_, locks, err := s.groups(ctx, []string{group})
	slices.SortFunc(locks, byKey)
	return locks, wrap(ctx, "group", group, err)
}

// scanGroups calls found with the declared locks whose key starts with prefix, a batch of
// groups at a time, as they were at a revision.
func (s *Store) scanGroups(ctx context.Context, prefix string, found func(uint64, []stores.LockInfo) error) error {
	for cursor := uint64(0); ; {
		groups, next, err := s.client.SScan(ctx, groupsKey, cursor, "", groupBatch).Result()
		if err != nil {
			return err
		}
		groups = slices.DeleteFunc(groups, func(group string) bool {
			return !strings.HasPrefix(group, prefix) && !strings.HasPrefix(prefix, group)
		})
		revision, locks, err := s.groups(ctx, groups)
		if err != nil {
			return err
		}
		locks = slices.DeleteFunc(locks, func(l stores.LockInfo) bool { return !strings.HasPrefix(l.Key, prefix) })
		if err := found(revision, locks); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// groups returns the locks of some groups, all as of one revision.
func (s *Store) groups(ctx context.Context, groups []string) (revision uint64, locks []stores.LockInfo, err error) {
	if len(groups) == 0 {
		return 0, nil, nil
	}
	values, err := groupScript.Run(ctx, s.client, nil, toAny(groups)...).StringSlice()
	if err != nil {
		return 0, nil, err
	}
	if len(values) == 0 {
		return 0, nil, errors.New("the script's answer must have a revision, got none")
	}
	if revision, err = strconv.ParseUint(values[0], 10, 64); err != nil {
		return 0, nil, err
	}
	locks, err = parseRows(values[1:])
	return revision, locks, err
}

package redis

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

const (
	// scanBatch is how many keys Redis looks at in one step of a List; other clients are served between the steps.
	scanBatch = 1000
	// rowLen is the number of values by which describe.lua describes a lock.
	rowLen = 8
	// daprPrefix begins the key of every lock that daprd takes, with lock.redis too.
	daprPrefix = "lock||"
)

// List implements [stores.Lister]. It walks over all keys of the database, and then over the groups. A string counts as a lock
// if Mortise took it or if its key is one that daprd makes; other strings may be anything, and their values are nobody's
// business.
func (s *Store) List(ctx context.Context, prefix string) ([]stores.Lock, error) {
	found := map[string]stores.Lock{} // SCAN may return a key twice, and a group knows more of it
	add := func(locks []stores.Lock) error {
		for _, l := range locks {
			found[l.Key] = l
		}
		return nil
	}
	err := s.scan(ctx, prefix, add)
	if err == nil {
		err = s.scanGroups(ctx, prefix, func(_ uint64, locks []stores.Lock) error { return add(locks) })
	}
	if err != nil {
		return nil, wrap(ctx, "list", prefix, err)
	}
	return sorted(found), nil
}

// scan calls found with the locks of one step after the other, each as it was at that step.
func (s *Store) scan(ctx context.Context, prefix string, found func([]stores.Lock) error) error {
	for cursor := uint64(0); ; {
		keys, next, err := s.client.ScanType(ctx, cursor, literal(prefix)+"*", scanBatch, "string").Result()
		if err != nil {
			return err
		}
		locks, err := s.describe(ctx, keys)
		if err != nil {
			return err
		}
		if err := found(locks); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// describe returns those of the keys that are held locks.
func (s *Store) describe(ctx context.Context, keys []string) ([]stores.Lock, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	values, err := listScript.Run(ctx, s.client, keys).StringSlice()
	if err != nil {
		return nil, err
	}
	return parseRows(values)
}

// parseRows reads descriptions, and returns those of locks that are held or declared.
func parseRows(values []string) ([]stores.Lock, error) {
	var locks []stores.Lock
	for row := range slices.Chunk(values, rowLen) {
		l, err := parseRow(row)
		if err != nil {
			return nil, err
		}
		switch {
		case isHeld(l):
			locks = append(locks, l)
		case l.Declared > 0:
			locks = append(locks, stores.Lock{Key: l.Key, Waiters: l.Waiters, Declared: l.Declared})
		}
	}
	return locks, nil
}

// isHeld tells whether a string is a lock that somebody holds.
func isHeld(l stores.Lock) bool {
	return l.Remaining > 0 && (l.Token != 0 || strings.HasPrefix(l.Key, daprPrefix))
}

// parseRow reads key, owner, time left, number of waiters, token, TTL, TTL of the declaration and metadata. Token, TTL and
// metadata are empty for a lock that a foreign program took, and all but the key for one that nobody holds.
func parseRow(row []string) (stores.Lock, error) {
	if len(row) != rowLen {
		return stores.Lock{}, fmt.Errorf("a record of %d values", len(row))
	}
	var numbers [5]int64
	for i, text := range row[2:7] {
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return stores.Lock{}, fmt.Errorf("record of %q: %w", row[0], err)
		}
		numbers[i] = n
	}
	metadata, err := decode(row[7])
	if err != nil {
		return stores.Lock{}, fmt.Errorf("record of %q: %w", row[0], err)
	}
	return stores.Lock{
		Key:       row[0],
		Owner:     row[1],
		Remaining: time.Duration(numbers[0]) * time.Millisecond,
		Waiters:   int(numbers[1]),
		Token:     uint64(numbers[2]),
		TTL:       time.Duration(numbers[3]) * time.Millisecond,
		Declared:  time.Duration(numbers[4]) * time.Millisecond,
		Metadata:  metadata,
	}, nil
}

func sorted(locks map[string]stores.Lock) []stores.Lock {
	return slices.SortedFunc(maps.Values(locks), byKey)
}

func byKey(a, b stores.Lock) int { return strings.Compare(a.Key, b.Key) }

// literal escapes what Redis's MATCH would take for a pattern.
func literal(prefix string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(prefix)
}

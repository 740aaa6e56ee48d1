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
	// scanBatch is how many keys Redis scans in one step of a List; it serves other
	// clients between the steps.
	scanBatch = 1000
	// rowLen is the number of values by which describe.lua describes a lock.
	rowLen = 8
	// daprPrefix begins the key of every lock that daprd takes, with lock.redis too.
	daprPrefix = "lock||"
)

// keyspace is a set of keys that name locks.
type keyspace struct {
	match string // a pattern of Redis
	kind  string // the type of the keys
	trim  string // what precedes the lock's key
}

// keyspaces returns where the locks under a prefix are found. Locks of daprd are found by
// their own keys, because lock.redis writes no records, and all others by their records.
// Keys of other programs are never read.
func keyspaces(prefix string) []keyspace {
	daprLocks := keyspace{match: literal(prefix) + "*", kind: "string"}
	if strings.HasPrefix(prefix, daprPrefix) {
		return []keyspace{daprLocks}
	}
	records := keyspace{match: literal(recordPrefix+prefix) + "*", kind: "hash", trim: recordPrefix}
	if !strings.HasPrefix(daprPrefix, prefix) {
		return []keyspace{records}
	}
	daprLocks.match = literal(daprPrefix) + "*"
	return []keyspace{records, daprLocks}
}

// List implements [stores.Lister]. It returns the locks that Mortise took and those whose
// key is of daprd's form; Get returns those of other programs. Redis scans all keys of
// the database, but sends the names of these only. A lock whose key the user may not read
// is described by its record.
func (s *Store) List(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
	// SCAN may return a key twice, and a group has the declared TTL too.
	found := map[string]stores.LockInfo{}
	add := func(locks []stores.LockInfo) error {
		for _, l := range locks {
			found[l.Key] = l
		}
		return nil
	}
	err := s.scan(ctx, prefix, add)
	if err == nil {
		err = s.scanGroups(ctx, prefix, func(_ uint64, locks []stores.LockInfo) error { return add(locks) })
	}
	if err != nil {
		return nil, wrap(ctx, "list", prefix, err)
	}
	return sorted(found), nil
}

// Get implements [stores.Getter]. It takes every string that expires for a lock,
// whichever program wrote it.
func (s *Store) Get(ctx context.Context, key string) (stores.LockInfo, error) {
	l, err := s.get(ctx, key)
	if err == nil {
		err = s.scanGroups(ctx, key, func(_ uint64, locks []stores.LockInfo) error {
			for _, declared := range locks {
				if declared.Key == key && l.Key == "" {
					l = declared
				} else if declared.Key == key {
					l.DeclaredTTL = declared.DeclaredTTL
				}
			}
			return nil
		})
	}
	if err == nil && l.Key == "" {
		err = stores.ErrNotHeld
	}
	return l, wrap(ctx, "get", key, err)
}

// get returns the lock, or the zero Lock if it is free.
func (s *Store) get(ctx context.Context, key string) (stores.LockInfo, error) {
	answer, err := getScript.Run(ctx, s.client, []string{key}).Slice()
	if err != nil {
		return stores.LockInfo{}, err
	}
	code, ok := answer[0].(int64)
	if !ok {
		return stores.LockInfo{}, fmt.Errorf("the script's answer must begin with a number, got %v", answer)
	}
	if len(answer) == 1 {
		return stores.LockInfo{}, scriptError(code)
	}
	row := make([]string, 0, rowLen)
	for _, value := range answer[1:] {
		text, _ := value.(string)
		row = append(row, text)
	}
	l, err := parseRow(row)
	if l.Remaining <= 0 {
		l = stores.LockInfo{}
	}
	return l, err
}

// scan calls found with the locks of each step of a SCAN, as they were at that step.
func (s *Store) scan(ctx context.Context, prefix string, found func([]stores.LockInfo) error) error {
	for _, p := range keyspaces(prefix) {
		if err := s.scanKeyspace(ctx, p, found); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) scanKeyspace(ctx context.Context, p keyspace, found func([]stores.LockInfo) error) error {
	for cursor := uint64(0); ; {
		names, next, err := s.client.ScanType(ctx, cursor, p.match, scanBatch, p.kind).Result()
		if err != nil {
			return err
		}
		locks, err := s.describe(ctx, p.keys(names))
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

// keys returns the locks' keys by the names found. Among the records, those of daprd's
// locks are left out, because their own keyspace has them.
func (p keyspace) keys(names []string) []any {
	var keys []any
	for _, name := range names {
		key, recorded := strings.CutPrefix(name, p.trim)
		if p.trim == "" || recorded && !strings.HasPrefix(key, daprPrefix) {
			keys = append(keys, key)
		}
	}
	return keys
}

// describe returns the locks among the keys that are held.
func (s *Store) describe(ctx context.Context, keys []any) ([]stores.LockInfo, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	values, err := listScript.Run(ctx, s.client, nil, keys...).StringSlice()
	if err != nil {
		return nil, err
	}
	return parseRows(values)
}

// parseRows reads descriptions, and returns those of locks that are held or declared.
func parseRows(values []string) ([]stores.LockInfo, error) {
	var locks []stores.LockInfo
	for row := range slices.Chunk(values, rowLen) {
		l, err := parseRow(row)
		if err != nil {
			return nil, err
		}
		switch {
		case isHeld(l):
			locks = append(locks, l)
		case l.DeclaredTTL > 0:
			locks = append(locks, stores.LockInfo{Key: l.Key, Waiters: l.Waiters, DeclaredTTL: l.DeclaredTTL})
		}
	}
	return locks, nil
}

// isHeld reports whether a string that a list found is a lock.
func isHeld(l stores.LockInfo) bool {
	return l.Remaining > 0 && (l.Token != 0 || strings.HasPrefix(l.Key, daprPrefix))
}

// parseRow reads key, owner, remaining milliseconds, number of waiters, token, TTL,
// declared TTL and metadata. Token, TTL and metadata are empty for a lock of another
// program, and all but the key for a free lock.
func parseRow(row []string) (stores.LockInfo, error) {
	if len(row) != rowLen {
		return stores.LockInfo{}, fmt.Errorf("a description must have %d values, got %d", rowLen, len(row))
	}
	var numbers [5]int64
	for i, text := range row[2:7] {
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return stores.LockInfo{}, fmt.Errorf("record of %q: %w", row[0], err)
		}
		numbers[i] = n
	}
	metadata, err := decode(row[7])
	if err != nil {
		return stores.LockInfo{}, fmt.Errorf("record of %q: %w", row[0], err)
	}
	return stores.LockInfo{
		Key:         row[0],
		Owner:       row[1],
		Remaining:   time.Duration(numbers[0]) * time.Millisecond,
		Waiters:     int(numbers[1]),
		Token:       uint64(numbers[2]),
		TTL:         time.Duration(numbers[3]) * time.Millisecond,
		DeclaredTTL: time.Duration(numbers[4]) * time.Millisecond,
		Metadata:    metadata,
	}, nil
}

func sorted(locks map[string]stores.LockInfo) []stores.LockInfo {
	return slices.SortedFunc(maps.Values(locks), byKey)
}

func byKey(a, b stores.LockInfo) int { return strings.Compare(a.Key, b.Key) }

// literal escapes the characters with a meaning in patterns of Redis.
func literal(prefix string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(prefix)
}

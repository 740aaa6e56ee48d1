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
	// scanBatch is how many keys Redis passes in one step of a List; other clients are
	// served between the steps.
	scanBatch = 1000
	// rowLen is the number of values by which describe.lua describes a lock.
	rowLen = 8
	// daprPrefix begins the key of every lock that daprd takes, with lock.redis too.
	daprPrefix = "lock||"
)

// place is where List finds the names of locks.
type keyspace struct {
	match string // a pattern of Redis
	kind  string // the type of the keys that fit
	trim  string // what is before the lock's name
}

// places returns where the locks under a prefix are found. Those that daprd names are
// found by their own keys, because lock.redis keeps no records, and all others by the
// records of their holders. Keys that belong to other programs are never read.
func keyspaces(prefix string) []keyspace {
	daprs := keyspace{match: literal(prefix) + "*", kind: "string"}
	if strings.HasPrefix(prefix, daprPrefix) {
		return []keyspace{daprs}
	}
	records := keyspace{match: literal(recordPrefix+prefix) + "*", kind: "hash", trim: recordPrefix}
	if !strings.HasPrefix(daprPrefix, prefix) {
		return []keyspace{records}
	}
	daprs.match = literal(daprPrefix) + "*"
	return []keyspace{records, daprs}
}

// List implements [stores.Lister]. It returns the locks that Mortise took or whose key is
// one that daprd makes; those of other programs are for Get. Redis passes all keys of the
// database, but sends the names of these only. A lock whose key the user may not read is
// described by its record.
func (s *Store) List(ctx context.Context, prefix string) ([]stores.LockInfo, error) {
	found := map[string]stores.LockInfo{} // SCAN may return a key twice, and a group knows more of it
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

// Get implements [stores.Getter]. A string that expires is a lock here, whichever program
// wrote it.
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

// get returns the lock if it is held, and else the zero Lock.
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

// scan calls found with the locks of one step after the other, each as it was at that
// step.
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

// keys returns the locks' keys by the names found. Among the records, those of the keys
// that daprd makes are left out, because they are found in their own place.
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

// describe returns those of the keys that are held locks.
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

// parseRow reads key, owner, time left, number of waiters, token, TTL, TTL of the
// declaration and metadata. Token, TTL and metadata are empty for a lock that a foreign
// program took, and all but the key for one that nobody holds.
func parseRow(row []string) (stores.LockInfo, error) {
	if len(row) != rowLen {
		return stores.LockInfo{}, fmt.Errorf("a record of %d values", len(row))
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

// literal escapes what Redis's MATCH would take for a pattern.
func literal(prefix string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(prefix)
}

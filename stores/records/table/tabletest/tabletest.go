// Package tabletest is the contract of package table as executable rows, which every
// table passes.
//
// A table calls [Run] from its tests. Rows use keys of their own, so that they can run at
// once in one storage. The suite is tested itself: for each row tabletest_test.go has a
// broken table that this row must catch.
package tabletest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/mortise-lock/mortise/stores/records/table"
)

// timeout bounds every row.
const timeout = time.Minute

// Run runs each row as a subtest. Each call of open returns another client of the same
// storage, which the suite closes.
func Run(t *testing.T, open func(t *testing.T) table.Table) {
	for _, r := range rows() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			first := open(t)
			defer first.Close()
			if r.needs != nil && !r.needs(first) {
				return
			}
			e := env{first, func() table.Table { return open(t) }, "row-" + uuid.NewString() + "/"}
			if err := r.run(t.Context(), e); err != nil {
				t.Errorf("%v\nrule: %s", err, r.rule)
			}
		})
	}
}

// row is one rule and how it is checked.
type row struct {
	name  string
	rule  string
	needs func(table.Table) bool // nil if every table has what the row needs
	check func(context.Context, env) error
}

func (r row) run(ctx context.Context, e env) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return r.check(ctx, e)
}

// env is what a row works with.
type env struct {
	table  table.Table
	open   func() table.Table // returns another client of the storage; the row closes it
	prefix string             // of the row's keys
}

func (e env) key(name string) string { return e.prefix + name }

// put commits one record and returns its version.
func (e env) put(ctx context.Context, key string, version table.Version, value string) (table.Version, error) {
	if _, err := e.table.Commit(ctx, []table.Change{{Key: key, If: version, Value: []byte(value)}}); err != nil {
		return "", fmt.Errorf("put %q: %w", value, err)
	}
	entry, err := e.get(ctx, key)
	if err != nil {
		return "", err
	}
	if string(entry.Value) != value || entry.Version == "" {
		return "", fmt.Errorf("after a commit of %q, the record is %q with version %q", value, entry.Value, entry.Version)
	}
	return entry.Version, nil
}

func (e env) get(ctx context.Context, key string) (table.Entry, error) {
	reply, err := e.table.Get(ctx, []string{key})
	if err != nil {
		return table.Entry{}, fmt.Errorf("get: %w", err)
	}
	if len(reply.Entries) != 1 || reply.Entries[0].Key != key {
		return table.Entry{}, fmt.Errorf("get of %q returned %d entries: %+v", key, len(reply.Entries), reply.Entries)
	}
	return reply.Entries[0], nil
}

// holds fails if the record has another value, or if it exists although value is nil.
func (e env) holds(ctx context.Context, key string, value []byte) error {
	entry, err := e.get(ctx, key)
	if err != nil {
		return err
	}
	if (entry.Value == nil) != (value == nil) || string(entry.Value) != string(value) || (entry.Version == "") != (value == nil) {
		return fmt.Errorf("the record is %q with version %q, want %q", entry.Value, entry.Version, value)
	}
	return nil
}

// conflicts fails unless the commit returns ErrConflict.
func (e env) conflicts(ctx context.Context, changes ...table.Change) error {
	reply, err := e.table.Commit(ctx, changes)
	if !errors.Is(err, table.ErrConflict) {
		return fmt.Errorf("a commit with another version returned %w", orNil(err))
	}
	if !reply.Known {
		return nil
	}
	for i, entry := range reply.Entries {
		if entry.Key != changes[i].Key {
			return fmt.Errorf("entry %d of the conflict is that of %q, want %q", i, entry.Key, changes[i].Key)
		}
		if err := e.holds(ctx, entry.Key, entry.Value); err != nil {
			return fmt.Errorf("the conflict returned another record: %w", err)
		}
	}
	return nil
}

// errNone is what orNil returns for no error.
var errNone = errors.New("no error")

func orNil(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

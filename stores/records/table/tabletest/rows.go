package tabletest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mortise-lock/mortise/stores/records/table"
)

const (
	writers       = 8
	writesPerEach = 50
	readsPerEach  = 100
)

func rows() []row {
	return append([]row{
		{name: "an absent record", rule: "Get returns an entry without a version for an absent record, in the order of the keys.", check: absent},
		{name: "create", rule: "A change with an empty version creates the record, and conflicts if it exists.", check: create},
		{name: "swap", rule: "A change with the present version replaces the record; one with an earlier version conflicts.", check: swap},
		{name: "delete", rule: "A change without a value deletes the record, and conflicts if it has another version.", check: remove},
		{name: "a version does not recur", rule: "A version from before a deletion never matches again.", needs: uniqueVersions, check: recreate},
		{name: "new versions", rule: "A Commit returns the new versions.", needs: returnsVersions, check: newVersions},
		{name: "any bytes", rule: "Values are any bytes up to MaxValue, which may be none; keys are text of any script.", check: anyBytes},
		{name: "too large", rule: "More keys than MaxKeys, or a larger value than MaxValue, fail with ErrTooLarge and change nothing.", check: tooLarge},
		{name: "all or none", rule: "A Commit of several keys applies all changes or none.", needs: severalKeys, check: allOrNone},
		{name: "never a part", rule: "No Get returns a part of a Commit.", needs: severalKeys, check: neverAPart},
		{name: "one creator", rule: "Of several clients that create a record at once, one succeeds.", check: oneCreator},
		{name: "one writer", rule: "Of several clients that swap a version at once, one succeeds.", check: oneWriter},
		{name: "clock", rule: "Now never falls from one call to a later one, and runs as fast as time.", check: clock},
		{name: "an ended context", rule: "A call whose context has ended fails with its error and changes nothing.", check: endedContext},
		{name: "close", rule: "Calls after Close fail with ErrClosed; other clients are not affected.", check: closes},
	}, feedRows()...)
}

func uniqueVersions(t table.Table) bool  { return !t.Traits().ReusesVersions }
func returnsVersions(t table.Table) bool { return t.Traits().ReturnsVersions }
func severalKeys(t table.Table) bool     { return t.Traits().MaxKeys > 1 }

func absent(ctx context.Context, e env) error {
	if _, err := e.put(ctx, e.key("b"), "", "there"); err != nil {
		return err
	}
	reply, err := e.table.Get(ctx, []string{e.key("c"), e.key("b"), e.key("a")})
	if err != nil {
		return err
	}
	var got strings.Builder
	for _, entry := range reply.Entries {
		fmt.Fprintf(&got, "%s=%s %v ", strings.TrimPrefix(entry.Key, e.prefix), entry.Value, entry.Version == "" && entry.Value == nil)
	}
	if want := "c= true b=there false a= true "; got.String() != want {
		return fmt.Errorf("got %q, want %q", got.String(), want)
	}
	return nil
}

func create(ctx context.Context, e env) error {
	key := e.key("a")
	if _, err := e.put(ctx, key, "", "one"); err != nil {
		return err
	}
	return errors.Join(
		e.conflicts(ctx, table.Change{Key: key, Value: []byte("two")}),
		e.holds(ctx, key, []byte("one")),
	)
}

func swap(ctx context.Context, e env) error {
	key := e.key("a")
	first, err := e.put(ctx, key, "", "one")
	if err != nil {
		return err
	}
	second, err := e.put(ctx, key, first, "two")
	if err != nil {
		return err
	}
	if first == second {
		return fmt.Errorf("two states of the record have the version %q", first)
	}
	return errors.Join(
		e.conflicts(ctx, table.Change{Key: key, If: first, Value: []byte("three")}),
		e.conflicts(ctx, table.Change{Key: e.key("absent"), If: first, Value: []byte("three")}),
		e.holds(ctx, key, []byte("two")),
		e.holds(ctx, e.key("absent"), nil),
	)
}

func remove(ctx context.Context, e env) error {
	key := e.key("a")
	first, err := e.put(ctx, key, "", "one")
	if err != nil {
		return err
	}
	second, err := e.put(ctx, key, first, "two")
	if err != nil {
		return err
	}
	if err := errors.Join(e.conflicts(ctx, table.Change{Key: key, If: first}), e.conflicts(ctx, table.Change{Key: key})); err != nil {
		return err
	}
	if _, err := e.table.Commit(ctx, []table.Change{{Key: key, If: second}}); err != nil {
		return err
	}
	if _, err := e.table.Commit(ctx, []table.Change{{Key: key}}); err != nil {
		return fmt.Errorf("a deletion of an absent record: %w", err)
	}
	return errors.Join(e.holds(ctx, key, nil), e.conflicts(ctx, table.Change{Key: key, If: second}))
}

func recreate(ctx context.Context, e env) error {
	key := e.key("a")
	old := map[table.Version]bool{}
	for range 5 {
		version, err := e.put(ctx, key, "", "one")
		if err != nil {
			return err
		}
		for earlier := range old {
			if err := e.conflicts(ctx, table.Change{Key: key, If: earlier, Value: []byte("stale")}); err != nil {
				return err
			}
		}
		old[version] = true
		if _, err := e.table.Commit(ctx, []table.Change{{Key: key, If: version}}); err != nil {
			return err
		}
	}
	return nil
}

func newVersions(ctx context.Context, e env) error {
	key := e.key("a")
	reply, err := e.table.Commit(ctx, []table.Change{{Key: key, Value: []byte("one")}})
	if err != nil || len(reply.Entries) != 1 {
		return fmt.Errorf("a commit returned %+v, %w", reply, orNil(err))
	}
	entry, err := e.get(ctx, key)
	if err != nil {
		return err
	}
	if reply.Entries[0].Version != entry.Version || entry.Version == "" {
		return fmt.Errorf("the commit returned the version %q, and Get %q", reply.Entries[0].Version, entry.Version)
	}
	_, err = e.put(ctx, key, reply.Entries[0].Version, "two")
	return err
}

func anyBytes(ctx context.Context, e env) error {
	var all []byte
	for b := range 256 {
		all = append(all, byte(b))
	}
	for name, value := range map[string][]byte{
		"empty": {}, "all": all, "large": bytes.Repeat([]byte{'x'}, e.table.Traits().MaxValue), "schlüssel/鍵 *?[%_'\"\\:": []byte("text"),
	} {
		if _, err := e.put(ctx, e.key(name), "", string(value)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return e.holds(ctx, e.key("empty"), []byte{})
}

func tooLarge(ctx context.Context, e env) error {
	traits := e.table.Traits()
	var many []table.Change
	for i := range traits.MaxKeys + 1 {
		many = append(many, table.Change{Key: e.key(fmt.Sprint(i)), Value: []byte("one")})
	}
	large := []table.Change{{Key: e.key("0"), Value: bytes.Repeat([]byte{'x'}, traits.MaxValue+1)}}
	for _, changes := range [][]table.Change{many, large} {
		if _, err := e.table.Commit(ctx, changes); !errors.Is(err, table.ErrTooLarge) {
			return fmt.Errorf("got %w, want ErrTooLarge", orNil(err))
		}
		if err := e.holds(ctx, e.key("0"), nil); err != nil {
			return err
		}
	}
	return nil
}

func allOrNone(ctx context.Context, e env) error {
	a, b, c := e.key("a"), e.key("b"), e.key("c")
	version, err := e.put(ctx, b, "", "one")
	if err != nil {
		return err
	}
	err = errors.Join(
		e.conflicts(ctx, table.Change{Key: a, Value: []byte("x")}, table.Change{Key: b, Value: []byte("x")}, table.Change{Key: c, Value: []byte("x")}),
		e.conflicts(ctx, table.Change{Key: b, If: version}, table.Change{Key: a, If: version}),
		e.holds(ctx, a, nil), e.holds(ctx, b, []byte("one")), e.holds(ctx, c, nil),
	)
	if err != nil {
		return err
	}
	changes := []table.Change{{Key: c, Value: []byte("two")}, {Key: b, If: version}, {Key: a, Value: []byte("two")}}
	if _, err := e.table.Commit(ctx, changes); err != nil {
		return err
	}
	return errors.Join(e.holds(ctx, a, []byte("two")), e.holds(ctx, b, nil), e.holds(ctx, c, []byte("two")))
}

// neverAPart lets a client write one number into two records while others read both.
func neverAPart(ctx context.Context, e env) error {
	keys := []string{e.key("a"), e.key("b")}
	return e.whileWriting(ctx, keys, func(t table.Table) error {
		reply, err := t.Get(ctx, keys)
		if err != nil {
			return err
		}
		if a, b := reply.Entries[0].Value, reply.Entries[1].Value; !bytes.Equal(a, b) {
			return fmt.Errorf("one record has the value %q, the other %q", a, b)
		}
		return nil
	})
}

// whileWriting writes one number after the other into all records of the keys, each in
// one Commit, until several clients have called read many times.
func (e env) whileWriting(ctx context.Context, keys []string, read func(table.Table) error) error {
	writing, stop := context.WithCancel(ctx)
	defer stop()
	written := make(chan error, 1)
	go func() { written <- e.writePairs(ctx, writing, keys) }()
	_, err := e.atOnce(func(t table.Table) (bool, error) {
		for range readsPerEach {
			if err := read(t); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	stop()
	return errors.Join(err, <-written)
}

// writePairs writes until the context writing ends.
func (e env) writePairs(ctx, writing context.Context, keys []string) error {
	for n := 0; writing.Err() == nil; n++ {
		reply, err := e.table.Get(ctx, keys)
		if err != nil {
			return err
		}
		var changes []table.Change
		for _, entry := range reply.Entries {
			changes = append(changes, table.Change{Key: entry.Key, If: entry.Version, Value: fmt.Append(nil, n)})
		}
		if _, err := e.table.Commit(ctx, changes); err != nil {
			return err
		}
	}
	return nil
}

// atOnce calls fn for each writer with a client of its own, and returns how many calls
// returned true.
func (e env) atOnce(fn func(t table.Table) (bool, error)) (succeeded int, err error) {
	var working sync.WaitGroup
	var mu sync.Mutex
	for range writers {
		working.Go(func() {
			client := e.open()
			defer client.Close()
			ok, failure := fn(client)
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, failure)
			if ok {
				succeeded++
			}
		})
	}
	working.Wait()
	return succeeded, err
}

func oneCreator(ctx context.Context, e env) error {
	for n := range writesPerEach {
		key := e.key(fmt.Sprint(n))
		created, err := e.atOnce(func(t table.Table) (bool, error) {
			_, err := t.Commit(ctx, []table.Change{{Key: key, Value: []byte("mine")}})
			if errors.Is(err, table.ErrConflict) {
				return false, nil
			}
			return err == nil, err
		})
		if err != nil || created != 1 {
			return fmt.Errorf("%d of %d clients have created a record: %w", created, writers, orNil(err))
		}
	}
	return nil
}

// oneWriter lets several clients count in one record. No count may be lost.
func oneWriter(ctx context.Context, e env) error {
	key := e.key("counter")
	_, err := e.atOnce(func(t table.Table) (bool, error) {
		for range writesPerEach {
			if err := count(ctx, t, key); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	entry, err := e.get(ctx, key)
	if err != nil {
		return err
	}
	if got := binary.BigEndian.Uint64(entry.Value); got != writers*writesPerEach {
		return fmt.Errorf("the record has counted %d of %d successful commits", got, writers*writesPerEach)
	}
	return nil
}

// count adds one to the number in the record.
func count(ctx context.Context, t table.Table, key string) error {
	for {
		reply, err := t.Get(ctx, []string{key})
		if err != nil {
			return err
		}
		number := uint64(0)
		if entry := reply.Entries[0]; entry.Version != "" {
			number = binary.BigEndian.Uint64(entry.Value)
		}
		value := binary.BigEndian.AppendUint64(nil, number+1)
		_, err = t.Commit(ctx, []table.Change{{Key: key, If: reply.Entries[0].Version, Value: value}})
		if !errors.Is(err, table.ErrConflict) {
			return err
		}
	}
}

// clock compares the storage's clock with this machine's monotonic one. The bounds leave
// room for a loaded machine and a step of a wall clock that is being corrected.
func clock(ctx context.Context, e env) error {
	first, err := e.table.Get(ctx, []string{e.key("a")})
	if err != nil || first.Now == 0 {
		return err
	}
	start, last := time.Now(), first.Now
	for time.Since(start) < 300*time.Millisecond {
		reply, err := e.table.Get(ctx, []string{e.key("a")})
		if err != nil {
			return err
		}
		if reply.Now < last {
			return fmt.Errorf("the clock fell by %d us", last-reply.Now)
		}
		last = reply.Now
	}
	passed := time.Duration(last-first.Now) * time.Microsecond
	if passed < 100*time.Millisecond || passed > time.Since(start)+100*time.Millisecond {
		return fmt.Errorf("the clock ran %v in %v", passed, time.Since(start))
	}
	return nil
}

func endedContext(ctx context.Context, e env) error {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := e.table.Get(ended, []string{e.key("a")}); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("get returned %w", orNil(err))
	}
	if _, err := e.table.Commit(ended, []table.Change{{Key: e.key("a"), Value: []byte("one")}}); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("commit returned %w", orNil(err))
	}
	return e.holds(ctx, e.key("a"), nil)
}

func closes(ctx context.Context, e env) error {
	other := e.open()
	if err := other.Close(); err != nil {
		return err
	}
	if _, err := other.Get(ctx, []string{e.key("a")}); !errors.Is(err, table.ErrClosed) {
		return fmt.Errorf("get after Close returned %w", orNil(err))
	}
	if _, err := other.Commit(ctx, []table.Change{{Key: e.key("a"), Value: []byte("one")}}); !errors.Is(err, table.ErrClosed) {
		return fmt.Errorf("commit after Close returned %w", orNil(err))
	}
	return e.holds(ctx, e.key("a"), nil)
}

package tabletest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mortise-lock/mortise/stores/records/table"
)

func feedRows() []row {
	return []row{
		{name: "scan", rule: "Scan returns the records below a prefix, sorted by key.", needs: scans, check: scan},
		{name: "a scan is of one moment", rule: "No Scan returns a part of a Commit.", needs: scansPairs, check: scanNeverAPart},
		{name: "mail", rule: "The records of changes that wake a process are delivered to it, and no others.", needs: mails, check: mail},
		{name: "feed", rule: "A Feed from a Scan's place delivers every later change below the prefix once, in order.", needs: feeds, check: feed},
		{name: "feed after a commit that changes nothing", rule: "A Commit that only requires that records are absent leaves no gap in a Feed.", needs: feeds, check: feedAfterNoChange},
		{name: "feed of a deletion", rule: "A Feed delivers a deletion as an entry without a version.", needs: feeds, check: feedOfADeletion},
		{name: "feed ends with deliver", rule: "A Feed returns deliver's error as it is.", needs: feeds, check: feedEnds},
		{name: "feed ends with its context", rule: "A Feed returns soon after its context has ended.", needs: feeds, check: feedEndsWithContext},
	}
}

func scans(t table.Table) bool { _, ok := t.(table.Scanner); return ok }

func scansPairs(t table.Table) bool { return scans(t) && severalKeys(t) }

func mails(t table.Table) bool { _, ok := t.(table.Mailer); return ok }

func feeds(t table.Table) bool { _, ok := t.(table.Feeder); return ok && scans(t) }

func scan(ctx context.Context, e env) error {
	keys := []string{e.key("b"), e.key("b/1"), e.key("b/2"), e.key("ba")}
	for _, key := range append([]string{e.key("a"), e.key("c")}, keys...) {
		if _, err := e.put(ctx, key, "", key); err != nil {
			return err
		}
	}
	reply, err := e.table.(table.Scanner).Scan(ctx, e.key("b"))
	if err != nil {
		return err
	}
	var got []string
	for _, entry := range reply.Entries {
		got = append(got, entry.Key)
		if err := e.holds(ctx, entry.Key, entry.Value); err != nil {
			return err
		}
	}
	if !slices.Equal(got, keys) {
		return fmt.Errorf("got %q, want %q", got, keys)
	}
	return nil
}

// scanNeverAPart lets a client write one number into two records while others scan both.
func scanNeverAPart(ctx context.Context, e env) error {
	return e.whileWriting(ctx, []string{e.key("a"), e.key("b")}, func(t table.Table) error {
		reply, err := t.(table.Scanner).Scan(ctx, e.prefix)
		if err != nil || len(reply.Entries) == 0 { // nothing was written yet
			return err
		}
		if len(reply.Entries) != 2 || !bytes.Equal(reply.Entries[0].Value, reply.Entries[1].Value) {
			return fmt.Errorf("a scan returned a part of a commit: %q", reply.Entries)
		}
		return nil
	})
}

// mail delivers three of five changes to a process.
func mail(ctx context.Context, e env) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	me, other := e.key("me"), e.key("other")
	ready, delivered := make(chan struct{}), make(chan table.Entry, 16)
	ended := make(chan error, 1)
	go func() {
		ended <- e.table.(table.Mailer).Mail(ctx, me, func() { close(ready) }, func(e table.Entry) { delivered <- e })
	}()
	select {
	case <-ready:
	case err := <-ended:
		return fmt.Errorf("the mail has ended: %w", orNil(err))
	}
	for i, process := range []string{me, other, me, "", me} {
		change := table.Change{Key: e.key(fmt.Sprint(i)), Value: fmt.Append(nil, i), Wake: process}
		if _, err := e.table.Commit(ctx, []table.Change{change}); err != nil {
			return err
		}
	}
	seen := map[string]bool{}
	for len(seen) < 3 {
		select {
		case entry := <-delivered:
			seen[entry.Key] = true
			if err := e.holds(ctx, entry.Key, entry.Value); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("delivered %v of 3 messages: %w", len(seen), ctx.Err())
		}
	}
	if seen[e.key("1")] || seen[e.key("3")] {
		return fmt.Errorf("delivered a message for another process: %v", seen)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		return fmt.Errorf("the mail returned %w", orNil(err))
	}
	return nil
}

// errEnough ends a feed.
var errEnough = errors.New("enough changes")

// feed lets several clients count in one record each, and follows all of them.
func feed(ctx context.Context, e env) error {
	key := func(i int) string { return e.key(fmt.Sprint("counter-", i)) }
	for i := range writers { // what Scan has and Feed must not deliver
		if err := count(ctx, e.table, key(i)); err != nil {
			return err
		}
	}
	scanned, err := e.table.(table.Scanner).Scan(ctx, e.prefix)
	if err != nil {
		return err
	}
	follow := follower{at: scanned.At, versions: map[string]table.Version{}, left: writers * writesPerEach}
	for _, entry := range scanned.Entries {
		follow.versions[entry.Key] = entry.Version
	}
	ended := make(chan error, 1)
	go func() { ended <- e.table.(table.Feeder).Feed(ctx, e.prefix, scanned.At, follow.take) }()
	next := make(chan int, writers)
	for i := range writers {
		next <- i
	}
	_, err = e.atOnce(func(t table.Table) (bool, error) {
		i := <-next
		for range writesPerEach {
			if err := count(ctx, t, key(i)); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	if err := <-ended; !errors.Is(err, errEnough) {
		return fmt.Errorf("the feed has ended %d changes early: %w", follow.left, orNil(err))
	}
	for key, version := range follow.versions {
		entry, err := e.get(ctx, key)
		if err != nil {
			return err
		}
		if entry.Version != version {
			return fmt.Errorf("the feed ended with version %q of a record that has %q", version, entry.Version)
		}
	}
	return nil
}

// follower checks the changes of a feed.
type follower struct {
	at       uint64
	versions map[string]table.Version
	left     int
}

// take fails if the place falls or a version repeats, and ends the feed after the last
// change.
func (f *follower) take(at uint64, e table.Entry) error {
	if at <= f.at {
		return fmt.Errorf("the place fell from %d to %d", f.at, at)
	}
	if f.versions[e.Key] == e.Version {
		return fmt.Errorf("the version %q of %q was delivered twice", e.Version, e.Key)
	}
	f.at, f.versions[e.Key] = at, e.Version
	if f.left--; f.left == 0 {
		return errEnough
	}
	return nil
}

func feedAfterNoChange(ctx context.Context, e env) error {
	scanned, err := e.table.(table.Scanner).Scan(ctx, e.prefix)
	if err != nil {
		return err
	}
	if _, err := e.table.Commit(ctx, []table.Change{{Key: e.key("a")}}); err != nil {
		return err
	}
	if _, err := e.put(ctx, e.key("b"), "", "one"); err != nil {
		return err
	}
	err = e.table.(table.Feeder).Feed(ctx, e.prefix, scanned.At, func(_ uint64, got table.Entry) error {
		if got.Key != e.key("b") {
			return fmt.Errorf("delivered %+v", got)
		}
		return errEnough
	})
	if !errors.Is(err, errEnough) {
		return fmt.Errorf("the feed returned %w", orNil(err))
	}
	return nil
}

func feedOfADeletion(ctx context.Context, e env) error {
	version, err := e.put(ctx, e.key("a"), "", "one")
	if err != nil {
		return err
	}
	scanned, err := e.table.(table.Scanner).Scan(ctx, e.prefix)
	if err != nil {
		return err
	}
	if _, err := e.table.Commit(ctx, []table.Change{{Key: e.key("a"), If: version}}); err != nil {
		return err
	}
	var got table.Entry
	err = e.table.(table.Feeder).Feed(ctx, e.prefix, scanned.At, func(_ uint64, e table.Entry) error {
		got = e
		return errEnough
	})
	if !errors.Is(err, errEnough) || got.Key != e.key("a") || got.Version != "" || got.Value != nil {
		return fmt.Errorf("the feed delivered %+v and returned %w", got, orNil(err))
	}
	return nil
}

func feedEnds(ctx context.Context, e env) error {
	scanned, err := e.table.(table.Scanner).Scan(ctx, e.prefix)
	if err != nil {
		return err
	}
	if _, err := e.put(ctx, e.key("a"), "", "one"); err != nil {
		return err
	}
	err = e.table.(table.Feeder).Feed(ctx, e.prefix, scanned.At, func(uint64, table.Entry) error { return errEnough })
	if !errors.Is(err, errEnough) {
		return fmt.Errorf("the feed returned %w", orNil(err))
	}
	return nil
}

func feedEndsWithContext(ctx context.Context, e env) error {
	scanned, err := e.table.(table.Scanner).Scan(ctx, e.prefix)
	if err != nil {
		return err
	}
	if _, err := e.put(ctx, e.key("a"), "", "one"); err != nil {
		return err
	}
	ending, end := context.WithCancel(ctx)
	defer end()
	err = e.table.(table.Feeder).Feed(ending, e.prefix, scanned.At, func(uint64, table.Entry) error {
		end()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("the feed returned %w", orNil(err))
	}
	return nil
}

package memtable

import (
	"errors"
	"fmt"
	"testing"

	"github.com/mortise-lock/mortise/stores/records/table"
	"github.com/mortise-lock/mortise/stores/records/table/tabletest"
)

func TestConformance(t *testing.T) {
	s := New()
	tabletest.Run(t, func(*testing.T) table.Table { return s.Open() })
}

// write commits n changes of one record.
func write(t *testing.T, m *Table, n int) {
	t.Helper()
	last := table.Version("")
	for i := range n {
		reply, err := m.Commit(t.Context(), []table.Change{{Key: "a", If: last, Value: fmt.Append(nil, i)}})
		if err != nil {
			t.Fatal(err)
		}
		last = reply.Entries[0].Version
	}
}

func TestTable_FeedFromBeforeTheHistory(t *testing.T) {
	m := New().Open()
	write(t, m, 3*maxHistory)
	err := m.Feed(t.Context(), "", 0, func(uint64, table.Entry) error { return errors.New("delivered") })
	if !errors.Is(err, table.ErrGap) {
		t.Errorf("the feed returned %v, want ErrGap", err)
	}
}

func TestTable_FeedThatDoesNotKeepUp(t *testing.T) {
	m := New().Open()
	write(t, m, 1)
	err := m.Feed(t.Context(), "", 0, func(at uint64, e table.Entry) error {
		if at > 1 {
			return fmt.Errorf("delivered the change %d", at)
		}
		last := e.Version
		for i := range maxPending + 1 {
			reply, err := m.Commit(t.Context(), []table.Change{{Key: "a", If: last, Value: fmt.Append(nil, i)}})
			if err != nil {
				return err
			}
			last = reply.Entries[0].Version
		}
		return nil
	})
	if !errors.Is(err, table.ErrGap) {
		t.Errorf("the feed returned %v, want ErrGap", err)
	}
}

func TestLastCommits(t *testing.T) {
	history := []change{{at: 1}, {at: 2}, {at: 2}, {at: 2}, {at: 3}}
	if got := lastCommits(history, 2); len(got) != 1 || got[0].at != 3 {
		t.Errorf("got %v, want the commits that are whole", got)
	}
}

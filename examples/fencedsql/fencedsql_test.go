package fencedsql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/mortise-lock/mortise/examples/fencedsql"
	"github.com/mortise-lock/mortise/examples/internal/holders"
)

const maxToken = 1 << 53 // tokens are smaller

// openDB returns a new database with order-1 and its fence, both never written.
func openDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "orders.db")+"?_pragma=busy_timeout(60000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, statement := range []string{
		fencedsql.Orders, fencedsql.Fences,
		`INSERT INTO orders (id, state) VALUES ('order-1', 'new')`,
		`INSERT INTO fences (name) VALUES ('order-1')`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// guards are the two ways to write the state of an order.
var guards = []struct {
	name    string
	set     func(ctx context.Context, db *sql.DB, id, state string, token uint64) error
	missing error // of an order that does not exist
}{
	{"a row", fencedsql.SetState, sql.ErrNoRows},
	{"a transaction", setInTransaction, fencedsql.ErrStale},
}

// setInTransaction writes the state of an order with a statement without a token.
func setInTransaction(ctx context.Context, db *sql.DB, id, state string, token uint64) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := fencedsql.Fence(ctx, tx, id, token); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE orders SET state = ? WHERE id = ?`, state, id); err != nil {
		return err
	}
	return tx.Commit()
}

func state(t *testing.T, db *sql.DB) (state string) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), `SELECT state FROM orders WHERE id = 'order-1'`).Scan(&state); err != nil {
		t.Fatal(err)
	}
	return state
}

func TestFencing_StaleHolder(t *testing.T) {
	for _, guard := range guards {
		t.Run(guard.name, func(t *testing.T) {
			db := openDB(t)
			stale, fresh := holders.StaleAndFresh(t, "order-1")
			if err := guard.set(t.Context(), db, "order-1", "sent by bob", fresh); err != nil {
				t.Fatal(err)
			}
			if err := guard.set(t.Context(), db, "order-1", "sent by ann", stale); !errors.Is(err, fencedsql.ErrStale) {
				t.Errorf("the stale holder: %v", err)
			}
			if got := state(t, db); got != "sent by bob" {
				t.Errorf("the order is %q", got)
			}
		})
	}
}

func TestFencing_Sequence(t *testing.T) {
	type write struct {
		token   uint64
		written bool
	}
	for _, row := range []struct {
		name   string
		writes []write
	}{
		{"the first write of a row", []write{{5, true}}},
		{"several writes of one holder", []write{{5, true}, {5, true}, {5, true}}},
		{"a holder that continues after a later one", []write{{5, true}, {6, true}, {5, false}, {6, true}}},
		{"a late holder that writes before the later one", []write{{5, true}, {6, true}, {7, true}}},
		{"no token, on an unwritten row", []write{{0, false}, {5, true}}},
		{"no token, on a written row", []write{{5, true}, {0, false}}},
		{"the largest tokens differ by one", []write{{maxToken - 1, true}, {maxToken, true}, {maxToken - 1, false}}},
		{"tokens are compared as numbers", []write{{9, true}, {10, true}, {9, false}}},
	} {
		for _, guard := range guards {
			t.Run(row.name+", "+guard.name, func(t *testing.T) {
				db, want := openDB(t), "new"
				for i, w := range row.writes {
					value := fmt.Sprint("write ", i)
					err := guard.set(t.Context(), db, "order-1", value, w.token)
					if w.written {
						want = value
					}
					if w.written && err != nil || !w.written && !errors.Is(err, fencedsql.ErrStale) {
						t.Errorf("write %d with token %d: %v", i, w.token, err)
					}
					if got := state(t, db); got != want {
						t.Errorf("after write %d the order is %q, want %q", i, got, want)
					}
				}
			})
		}
	}
}

func TestFencing_MissingRow(t *testing.T) {
	for _, guard := range guards {
		t.Run(guard.name, func(t *testing.T) {
			db := openDB(t)
			if err := guard.set(t.Context(), db, "order-2", "sent", 5); !errors.Is(err, guard.missing) {
				t.Errorf("got %v, want %v", err, guard.missing)
			}
			if got := state(t, db); got != "new" {
				t.Errorf("another order has become %q", got)
			}
		})
	}
}

func TestFencing_OtherErrors(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, guard := range guards {
		for _, row := range []struct {
			name  string
			ctx   context.Context
			token uint64
		}{
			{"a context that has ended", ended, 5},
			{"a token that the database cannot represent", t.Context(), math.MaxUint64},
		} {
			t.Run(row.name+", "+guard.name, func(t *testing.T) {
				err := guard.set(row.ctx, openDB(t), "order-1", "sent", row.token)
				if err == nil || errors.Is(err, fencedsql.ErrStale) || errors.Is(err, sql.ErrNoRows) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

func TestFencing_SameToken(t *testing.T) {
	for _, guard := range guards {
		t.Run(guard.name, func(t *testing.T) {
			db := openDB(t)
			var writers sync.WaitGroup
			for i := range 8 {
				writers.Go(func() {
					if err := guard.set(t.Context(), db, "order-1", fmt.Sprint("part ", i), 5); err != nil {
						t.Error(err)
					}
				})
			}
			writers.Wait()
		})
	}
}

// In any order of the writes, the one with the largest token is the last.
func TestFencing_LargestTokenWins(t *testing.T) {
	for _, guard := range guards {
		t.Run(guard.name, func(t *testing.T) {
			db := openDB(t)
			const last = 16
			var writers sync.WaitGroup
			for token := range uint64(last) {
				writers.Go(func() {
					err := guard.set(t.Context(), db, "order-1", fmt.Sprint("by ", token+1), token+1)
					if err != nil && !errors.Is(err, fencedsql.ErrStale) {
						t.Error(err)
					}
				})
			}
			writers.Wait()
			if got, want := state(t, db), fmt.Sprint("by ", last); got != want {
				t.Errorf("the order is %q, want %q", got, want)
			}
		})
	}
}

func TestFence_Rollback(t *testing.T) {
	db := openDB(t)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := fencedsql.Fence(t.Context(), tx, "order-1", 6); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := setInTransaction(t.Context(), db, "order-1", "sent", 5); err != nil {
		t.Errorf("a smaller token, after the larger one's transaction was rolled back: %v", err)
	}
}

// Package fencedsql shows how to reject writes of a holder that has outlived its lease to
// a SQL database. Its few lines are meant to be copied. They are tested with SQLite.
// MySQL runs them unchanged if the driver counts matched rows (for go-sql-driver/mysql
// clientFoundRows=true); PostgreSQL needs $1, $2 and so on instead of the question marks.
//
// [SetState] guards a row by a column, and [Fence] a whole transaction by a row of
// another table. In both, tokens start at 1, so that a write with 0, which means no
// token, always fails. Deleting such a row loses its token, and a stale holder may then
// write again: mark the row as deleted, or keep its token in the other table.
package fencedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ErrStale reports that a holder with a larger token has written: the caller has lost its
// lock and must stop.
var ErrStale = errors.New("fencing token is stale")

// Orders creates the table that [SetState] writes. The id of an order is the key of its
// lock.
const Orders = `
CREATE TABLE orders (
	id    VARCHAR(64) PRIMARY KEY,
	state VARCHAR(64) NOT NULL,
	token BIGINT      NOT NULL DEFAULT 1
)
`

// SetState writes the state of an order on behalf of the holder of its lock, any number
// of times. It fails with [ErrStale] if a later holder has written, and with
// [sql.ErrNoRows] if the order does not exist.
func SetState(ctx context.Context, db *sql.DB, id, state string, token uint64) error {
	result, err := db.ExecContext(ctx,
		`UPDATE orders SET state = ?, token = ? WHERE id = ? AND token <= ?`, state, token, id, token)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); n == 1 || err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, `SELECT id FROM orders WHERE id = ?`, id).Scan(&id); err != nil {
		return fmt.Errorf("order %q: %w", id, err)
	}
	return fmt.Errorf("order %q: %w", id, ErrStale)
}

// Package fencedsql shows how a SQL database refuses a holder that outlived its lease: in
// few lines, which are meant to be copied. They are tested with SQLite. MySQL takes them
// as they are, if the driver counts the rows that match (for go-sql-driver/mysql
// clientFoundRows=true); PostgreSQL writes $1, $2 and so on for the question marks.
//
// [SetState] guards a row by a column of its own, [Fence] a whole transaction by a row of
// a table beside. In both, tokens begin at 1, so that 0, which is no token, never writes.
// Who deletes such a row forgets its token, and a stale holder may then write again: mark
// it as deleted, or keep its token in the table beside.
package fencedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ErrStale reports that somebody with a larger token has written: the caller has lost its
// lock and must stop.
var ErrStale = errors.New("fencing token is stale")

// Orders is the table that [SetState] writes. The lock that guards an order is named
// after its id.
const Orders = `
CREATE TABLE orders (
	id    VARCHAR(64) PRIMARY KEY,
	state VARCHAR(64) NOT NULL,
	token BIGINT      NOT NULL DEFAULT 1
)
`

// SetState writes the state of an order, for the holder of its lock, as often as it
// likes. It fails with [ErrStale] if a later holder has written, and with [sql.ErrNoRows]
// if there is no such order.
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

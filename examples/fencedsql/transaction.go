package fencedsql

import (
	"context"
	"database/sql"
	"fmt"
)

// Fences is the table that [Fence] writes: a row for each lock, put there once, with
// whatever the lock guards.
const Fences = `
CREATE TABLE fences (
	name  VARCHAR(255) PRIMARY KEY,
	token BIGINT       NOT NULL DEFAULT 1
)
`

// Fence is the first statement of a transaction that the lock called name guards,
// whatever it writes. The database keeps the fence's row for this transaction until it
// ends, so a later holder's comes after it, and none after a later holder's. It fails
// with [ErrStale] if a later holder was here, or if there is no such fence; the
// transaction is then to be rolled back.
func Fence(ctx context.Context, tx *sql.Tx, name string, token uint64) error {
	result, err := tx.ExecContext(ctx, `UPDATE fences SET token = ? WHERE name = ? AND token <= ?`, token, name, token)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); n == 1 || err != nil {
		return err
	}
	return fmt.Errorf("fence %q: %w", name, ErrStale)
}

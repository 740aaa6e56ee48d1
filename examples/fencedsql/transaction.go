package fencedsql

import (
	"context"
	"database/sql"
	"fmt"
)

// Fences creates the table that [Fence] writes. It has a row for each lock, which must be
// inserted before the lock is first used.
const Fences = `
CREATE TABLE fences (
	name  VARCHAR(255) PRIMARY KEY,
	token BIGINT       NOT NULL DEFAULT 1
)
`

// Fence is the first statement of a transaction that the lock called name guards. The
// database locks the fence's row until the transaction ends, so that the transaction of a
// later holder follows it, and no transaction follows that of a later holder. Fence fails
// with [ErrStale] if a later holder has written, or if the fence does not exist; the
// transaction must then be rolled back.
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

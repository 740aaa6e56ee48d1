package datasource

import (
	"context"
	"database/sql"
	"errors"
)

// SQL returns pools of database/sql. open returns the pool of a source, for example by
// sql.Open; the limits of a pool apply to each level.
func SQL(open func(Source) (*sql.DB, error)) *Pools[*sql.DB] {
	return NewPools(open, (*sql.DB).Close)
}

// DBTX has the methods that *sql.DB and *sql.Tx have in common.
type DBTX interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// txKey is the key of a source's transaction in ctx.
type txKey struct {
	pools  *Pools[*sql.DB]
	source Source
}

// Conn returns the transaction of ctx at its source and level, or the pool if there is no
// transaction.
func Conn(ctx context.Context, pools *Pools[*sql.DB]) (DBTX, error) {
	if tx, ok := ctx.Value(txKey{pools, From(ctx)}).(*sql.Tx); ok {
		return tx, nil
	}
	return pools.At(ctx)
}

// InTx runs fn in a transaction of ctx's source and level. It commits if fn returns nil,
// and rolls back if fn returns an error or panics. If ctx already has a transaction, fn
// runs in that.
func InTx(ctx context.Context, pools *Pools[*sql.DB], opts *sql.TxOptions, fn func(ctx context.Context) error) (err error) {
	key := txKey{pools, From(ctx)}
	if ctx.Value(key) != nil {
		return fn(ctx)
	}
	db, err := pools.At(ctx)
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	defer func() {
		if end := tx.Rollback(); end != nil && !errors.Is(end, sql.ErrTxDone) {
			err = errors.Join(err, end)
		}
	}()
	if err := fn(context.WithValue(ctx, key, tx)); err != nil {
		return err
	}
	return tx.Commit()
}

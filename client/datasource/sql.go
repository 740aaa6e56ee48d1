package datasource

import (
	"context"
	"database/sql"
	"errors"
)

// SQL returns pools of database/sql. open makes the pool of a source, as with sql.Open;
// its limits count for each level.
func SQL(open func(Source) (*sql.DB, error)) *Pools[*sql.DB] {
	return NewPools(open, (*sql.DB).Close)
}

// DBTX is what a *sql.DB and a *sql.Tx have in common.
type DBTX interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// txKey is where ctx has the transaction of a source.
type txKey struct {
	pools  *Pools[*sql.DB]
	source Source
}

// Conn returns the transaction that ctx is in at its source and level, or if there is
// none the pool.
func Conn(ctx context.Context, pools *Pools[*sql.DB]) (DBTX, error) {
	if tx, ok := ctx.Value(txKey{pools, From(ctx)}).(*sql.Tx); ok {
		return tx, nil
	}
	return pools.At(ctx)
}

// InTx runs fn in a transaction of ctx's source and level: it is committed if fn returns
// nil, and rolled back if fn returns an error or panics. If ctx is in one already, fn
// takes part in that.
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

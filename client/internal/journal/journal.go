// Package journal is a database for tests that only records its statements.
package journal

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"
)

// Journal is a database. Its zero value is empty.
type Journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *Journal) append(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// Take returns the records since the last call: statements, with the prefix "tx " in a
// transaction, and "begin", "commit" and "rollback".
func (j *Journal) Take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

// Open returns a pool with one connection.
func (j *Journal) Open() *sql.DB {
	db := sql.OpenDB(j)
	db.SetMaxOpenConns(1)
	return db
}

// Connect implements [driver.Connector].
func (j *Journal) Connect(context.Context) (driver.Conn, error) { return &conn{journal: j}, nil }

// Driver implements [driver.Connector].
func (j *Journal) Driver() driver.Driver { return nil }

// conn is a connection, and its transaction if it has one.
type conn struct {
	journal *Journal
	in      string // "tx " in a transaction
}

func (c *conn) ExecContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	c.journal.append(c.in + query)
	return driver.RowsAffected(1), nil
}

func (c *conn) Begin() (driver.Tx, error) {
	c.in = "tx "
	c.journal.append("begin")
	return c, nil
}

func (c *conn) Commit() error   { c.in = ""; c.journal.append("commit"); return nil }
func (c *conn) Rollback() error { c.in = ""; c.journal.append("rollback"); return nil }
func (c *conn) Close() error    { return nil }

func (c *conn) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("prepared statements are not supported")
}

package datasource_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/mortise-lock/mortise/client/datasource"
	"github.com/mortise-lock/mortise/client/internal/journal"
)

func TestPools(t *testing.T) {
	var opened, closed []string
	pools := datasource.NewPools(
		func(s datasource.Source) (string, error) { opened = append(opened, s.String()); return s.String(), nil },
		func(pool string) error { closed = append(closed, pool); return nil },
	)
	main := datasource.With(t.Context(), datasource.Source{Name: "main"})
	above := datasource.With(main, datasource.Source{Name: "main", Level: 1})
	for _, ctx := range []context.Context{main, above, main, above} {
		if pool, err := pools.At(ctx); err != nil || pool != datasource.From(ctx).String() {
			t.Errorf("At returned %q, %v", pool, err)
		}
	}
	if want := []string{"main", "main:1"}; !slices.Equal(opened, want) {
		t.Errorf("opened are %q, want each once: %q", opened, want)
	}
	if err := pools.Close(); err != nil || len(closed) != 2 {
		t.Errorf("Close returned %v and closed %q", err, closed)
	}
	if _, err := pools.At(main); !errors.Is(err, datasource.ErrClosed) {
		t.Errorf("At after Close returned %v, want ErrClosed", err)
	}
	if err := pools.Close(); err != nil || len(closed) != 2 {
		t.Errorf("a second Close returned %v and closed %q", err, closed)
	}
}

func TestPools_OpenFails(t *testing.T) {
	openErr := io.ErrUnexpectedEOF
	pools := datasource.NewPools(
		func(datasource.Source) (int, error) { return 1, openErr },
		func(int) error { return io.ErrClosedPipe },
	)
	if _, err := pools.At(t.Context()); !errors.Is(err, openErr) || err.Error() != `datasource: open "": unexpected EOF` {
		t.Errorf("At returned %v", err)
	}
	openErr = nil
	if _, err := pools.At(t.Context()); err != nil {
		t.Error(err)
	}
	if err := pools.Close(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Close returned %v", err)
	}
}

func TestInTx(t *testing.T) {
	j := &journal.Journal{}
	pools := datasource.SQL(func(datasource.Source) (*sql.DB, error) { return j.Open(), nil })
	defer pools.Close()
	up := func(ctx context.Context) context.Context {
		return datasource.With(ctx, datasource.Source{Level: datasource.From(ctx).Level + 1})
	}
	exec := func(ctx context.Context, query string) error {
		db, err := datasource.Conn(ctx, pools)
		if err != nil {
			return err
		}
		_, err = db.ExecContext(ctx, query)
		return err
	}
	for _, row := range []struct {
		name string
		do   func(ctx context.Context) error
		want []string
		err  error
	}{
		{"commits", func(ctx context.Context) error { return exec(ctx, "a") }, []string{"begin", "tx a", "commit"}, nil},
		{"rolls back for an error", func(ctx context.Context) error { return errors.Join(exec(ctx, "a"), io.EOF) }, []string{"begin", "tx a", "rollback"}, io.EOF},
		{"joins an open transaction", func(ctx context.Context) error {
			return datasource.InTx(ctx, pools, nil, func(ctx context.Context) error { return exec(ctx, "a") })
		}, []string{"begin", "tx a", "commit"}, nil},
		{"does not apply to another level", func(ctx context.Context) error { return exec(up(ctx), "a") }, []string{"begin", "a", "commit"}, nil},
		{"has a separate one at the next level", func(ctx context.Context) error {
			return errors.Join(datasource.InTx(up(ctx), pools, nil, func(ctx context.Context) error { return exec(ctx, "b") }), exec(ctx, "a"))
		}, []string{"begin", "begin", "tx b", "commit", "tx a", "commit"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := datasource.InTx(t.Context(), pools, nil, row.do); !errors.Is(err, row.err) {
				t.Errorf("InTx returned %v, want %v", err, row.err)
			}
			if got := j.Take(); !slices.Equal(got, row.want) {
				t.Errorf("the database got %q, want %q", got, row.want)
			}
		})
	}
}

func TestInTx_Panic(t *testing.T) {
	j := &journal.Journal{}
	pools := datasource.SQL(func(datasource.Source) (*sql.DB, error) { return j.Open(), nil })
	defer pools.Close()
	defer func() {
		if got, want := j.Take(), []string{"begin", "rollback"}; recover() != "oops" || !slices.Equal(got, want) {
			t.Errorf("the database got %q, want %q", got, want)
		}
	}()
	_ = datasource.InTx(t.Context(), pools, nil, func(context.Context) error { panic("oops") })
}

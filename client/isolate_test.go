package client_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/client/datasource"
	"github.com/mortise-lock/mortise/client/internal/journal"
)

// doFunc is Do or DoIsolated.
type doFunc func(context.Context, *client.Client, string, func(context.Context) (int, error), ...client.Option) (int, error)

// runCircularWait runs a caller that has the only connection of a pool and waits for a
// lock whose holder needs a connection.
func runCircularWait(t *testing.T, do doFunc) (noted []string, holder, caller error) {
	_, c := setup(t)
	j := &journal.Journal{}
	pools := datasource.SQL(func(datasource.Source) (*sql.DB, error) { return j.Open(), nil })
	defer pools.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	write := func(query string) func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			db, err := datasource.Conn(ctx, pools)
			if err != nil {
				return 0, err
			}
			_, err = db.ExecContext(ctx, query)
			return 0, err
		}
	}
	locked, begun, done := make(chan bool), make(chan bool), make(chan error)
	go func() {
		_, err := do(ctx, c, "user-1", func(ctx context.Context) (int, error) {
			close(locked)
			<-begun
			return write("of the holder")(ctx)
		})
		done <- err
	}()
	<-locked
	caller = datasource.InTx(ctx, pools, nil, func(ctx context.Context) error {
		close(begun)
		_, err := do(ctx, c, "user-1", write("of the caller"))
		return err
	})
	holder = <-done
	return j.Take(), holder, caller
}

func TestDoIsolated_CircularWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noted, holder, caller := runCircularWait(t, client.DoIsolated[int])
		if holder != nil || caller != nil {
			t.Errorf("the holder ended with %v, the caller with %v", holder, caller)
		}
		if want := []string{"begin", "of the holder", "of the caller", "commit"}; !slices.Equal(noted, want) {
			t.Errorf("the database got %q, want %q", noted, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, holder, caller := runCircularWait(t, client.Do[int])
		if !errors.Is(holder, context.DeadlineExceeded) && !errors.Is(caller, context.DeadlineExceeded) {
			t.Errorf("with Do the calls returned %v and %v, want a deadlock", holder, caller)
		}
	})
}

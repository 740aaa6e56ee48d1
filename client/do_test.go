package client_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/client/datasource"
)

func TestDo_Result(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		got, err := client.Do(t.Context(), c, "disk", func(ctx context.Context) (int, error) {
			l, ok := client.LeaseFrom(ctx)
			if !ok || l.Token() == 0 || l.Key() != "disk" || n.ownerOf("disk") == "" {
				t.Errorf("in fn the lease is %v", l)
			}
			return 42, nil
		})
		if got != 42 || err != nil {
			t.Errorf("Do returned %d, %v", got, err)
		}
		got, err = client.Do(t.Context(), c, "disk", func(context.Context) (int, error) { return 7, io.EOF })
		if got != 7 || !errors.Is(err, io.EOF) {
			t.Errorf("Do returned %d, %v, want fn's own error as it is", got, err)
		}
		if n.ownerOf("disk") != "" {
			t.Error("the lock is still held")
		}
	})
}

func TestDo_Locked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		n.lockAsOther("disk")
		_, err := client.Do(t.Context(), c, "disk", func(context.Context) (int, error) {
			t.Error("fn ran")
			return 0, nil
		}, client.Wait(time.Second))
		if !errors.Is(err, client.ErrLocked) {
			t.Errorf("Do returned %v, want ErrLocked", err)
		}
	})
}

func TestDo_Lost(t *testing.T) {
	for _, row := range []struct {
		name string
		fn   func(ctx context.Context) error
		also error
	}{
		{"though fn succeeded", func(ctx context.Context) error { <-ctx.Done(); return nil }, nil},
		{"joined with fn's error", func(ctx context.Context) error { <-ctx.Done(); return io.EOF }, io.EOF},
		{"once if fn returns it, too", func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }, nil},
		{"before the loss was noticed", func(context.Context) error { return nil }, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := setup(t)
				got, err := client.Do(t.Context(), c, "disk", func(ctx context.Context) (string, error) {
					n.revoke("disk")
					return "result", row.fn(ctx)
				})
				if got != "result" || !errors.Is(err, client.ErrLost) || row.also != nil && !errors.Is(err, row.also) {
					t.Errorf("Do returned %q, %v, want the result, ErrLost and %v", got, err, row.also)
				}
				if strings.Count(err.Error(), "lost") != 1 {
					t.Errorf("the loss must be reported once: %v", err)
				}
			})
		})
	}
}

func TestDo_UnlockFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		_, err := client.Do(t.Context(), c, "disk", func(context.Context) (int, error) {
			n.inject(hang)
			return 0, nil
		})
		if !errors.Is(err, client.ErrUnavailable) {
			t.Errorf("Do returned %v, want ErrUnavailable", err)
		}
	})
}

func TestDo_Panic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := setup(t)
		defer func() {
			if got := recover(); got != "oops" {
				t.Errorf("the panic is %v", got)
			}
			if n.ownerOf("disk") != "" {
				t.Error("the lock is still held")
			}
		}()
		_, _ = client.Do(t.Context(), c, "disk", func(context.Context) (int, error) { panic("oops") })
	})
}

func TestDo_NestedDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := setup(t)
		_, err := client.Do(t.Context(), c, "disk", func(ctx context.Context) (int, error) {
			return client.Do(ctx, c, "disk", func(context.Context) (int, error) { return 0, nil })
		})
		if !errors.Is(err, client.ErrDeadlock) {
			t.Errorf("Do returned %v, want ErrDeadlock", err)
		}
	})
}

func TestDoIsolated_Level(t *testing.T) {
	for _, row := range []struct {
		name string
		at   datasource.Source
		opts []client.Option
		want datasource.Source
	}{
		{"from nothing", datasource.Source{}, nil, datasource.Source{Level: 1}},
		{"from ctx", datasource.Source{Name: "main", Level: 2}, nil, datasource.Source{Name: "main", Level: 3}},
		{"from a level", datasource.Source{Name: "main", Level: 2}, []client.Option{client.Level(0)}, datasource.Source{Name: "main", Level: 1}},
		{"in another source", datasource.Source{Name: "main", Level: 2}, []client.Option{client.DataSource("log")}, datasource.Source{Name: "log", Level: 3}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := setup(t)
				got, err := client.DoIsolated(datasource.With(t.Context(), row.at), c, "disk", func(ctx context.Context) (datasource.Source, error) {
					if n.ownerOf("disk") == "" {
						t.Error("fn runs without the lock")
					}
					return datasource.From(ctx), nil
				}, row.opts...)
				if got != row.want || err != nil {
					t.Errorf("fn ran at %+v, %v, want %+v", got, err, row.want)
				}
			})
		})
	}
}

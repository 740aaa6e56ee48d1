package client_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/mortise-lock/mortise/client"
)

type seat struct {
	Hall string
	Row  int
}

func TestTemplate_Of(t *testing.T) {
	id := uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	for _, row := range []struct{ got, want string }{
		{client.Resource[int64]("user-${id}").Of(42), "user-42"},
		{client.Resource[int8]("user${id}s").Of(-1), "user-1s"},
		{client.Resource[uint]("${id}").Of(7), "7"},
		{client.Resource[bool]("flag/${on}").Of(true), "flag/true"},
		{client.Resource[string]("user-${name}").Of("a-b%/é"), "user-a-b%/é"},
		{client.Resource[uuid.UUID]("user-${id}").Of(id), "user-" + id.String()},
		{client.Resource[seat]("hall-${hall}/row-${row}").Of(seat{"main", 3}), "hall-main/row-3"},
		{client.Resource[seat]("${ROW}/${Hall}").Of(seat{"a/b", 3}), "3/a/b"},
		{client.Resource[seat]("${hall}/${row}").Of(seat{"a/b%", 3}), "a%2Fb%25/3"},
		{client.Resource[seat]("${row}-${hall}").Of(seat{"a", -3}), "%2D3-a"},
	} {
		if row.got != row.want {
			t.Errorf("the resource is %q, want %q", row.got, row.want)
		}
	}
}

func TestResource_Panics(t *testing.T) {
	for _, row := range []struct {
		make func()
		want string
	}{
		{func() { client.Resource[int]("user") }, `resource "user": it has no placeholder such as ${id}`},
		{func() { client.Resource[int]("user-${}") }, `no placeholder`},
		{func() { client.Resource[int]("user-${id") }, `no placeholder`},
		{func() { client.Resource[int]("user-${id}-${x") }, `a placeholder that is not ${name}`},
		{func() { client.Resource[int]("${a}-${b}") }, `a struct is needed and not int`},
		{func() { client.Resource[float64]("${a}") }, `a float64 has no text of its own`},
		{func() { client.Resource[any]("${a}") }, `has no text of its own`},
		{func() { client.Resource[*int]("${a}") }, `has no text of its own`},
		{func() { client.Resource[seat]("${hall}${row}") }, `must be followed by a punctuation sign`},
		{func() { client.Resource[seat]("${hall}x${row}") }, `must be followed by a punctuation sign`},
		{func() { client.Resource[seat]("${hall}%${row}") }, `must be followed by a punctuation sign`},
		{func() { client.Resource[seat]("${hall}") }, `it has no place for the field Row`},
		{func() { client.Resource[seat]("${hall}/${row}/${hall}") }, `${hall} is there twice`},
		{func() { client.Resource[seat]("${hall}/${line}") }, `has no field for ${line}`},
		{func() { client.Resource[struct{ F float64 }]("${f}") }, `a float64 has no text of its own`},
		{func() { client.Resource[struct{ id int }]("${id}") }, `has no field for ${id}`},
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, row.want) {
					t.Errorf("the panic is %q, want %q", got, row.want)
				}
			}()
			row.make()
		}()
	}
}

func FuzzTemplate_Of(f *testing.F) {
	three := client.Resource[struct{ A, B, C string }]("x${a}-/${b}:${c}-")
	f.Add("a-", "b", "c", "a", "-b", "c")
	f.Add("%", "2D", "", "%2D", "", "")
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g string) {
		first, second := three.Of(struct{ A, B, C string }{a, b, c}), three.Of(struct{ A, B, C string }{d, e, g})
		if same := a == d && b == e && c == g; (first == second) != same {
			t.Errorf("%q and %q are %q and %q", []string{a, b, c}, []string{d, e, g}, first, second)
		}
	})
}

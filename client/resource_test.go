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
		{func() { client.Resource[int]("user") }, `resource "user": must have a placeholder such as ${id}`},
		{func() { client.Resource[int]("user-${}") }, `must have a placeholder`},
		{func() { client.Resource[int]("user-${id") }, `must have a placeholder`},
		{func() { client.Resource[int]("user-${id}-${x") }, `placeholders must have the form ${name}`},
		{func() { client.Resource[int]("${a}-${b}") }, `2 placeholders require a struct, got int`},
		{func() { client.Resource[float64]("${a}") }, `a TextMarshaler, got float64`},
		{func() { client.Resource[any]("${a}") }, `a TextMarshaler, got interface`},
		{func() { client.Resource[*int]("${a}") }, `a TextMarshaler, got *int`},
		{func() { client.Resource[seat]("${hall}${row}") }, `must be followed by a punctuation sign`},
		{func() { client.Resource[seat]("${hall}x${row}") }, `must be followed by a punctuation sign`},
		{func() { client.Resource[seat]("${hall}%${row}") }, `must be followed by a punctuation sign`},
		{func() { client.Resource[seat]("${hall}") }, `must have a placeholder for the field Row`},
		{func() { client.Resource[seat]("${hall}/${row}/${hall}") }, `${hall} must occur once`},
		{func() { client.Resource[seat]("${hall}/${line}") }, `has no field for ${line}`},
		{func() { client.Resource[struct{ F float64 }]("${f}") }, `a TextMarshaler, got float64`},
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

package redis

import (
	"slices"
	"testing"
)

func TestUnpack(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		text string
		want []string // nil if invalid
	}{
		{"1:a0:2:::", []string{"a", "", "::"}},
		{"3:\x00\xff1", []string{"\x00\xff1"}},
		{"2:a", nil}, {"-1:a", nil}, {"a", nil}, {"1a:b", nil}, {":", nil},
	} {
		got, err := unpack(row.text)
		if !slices.Equal(got, row.want) || (err == nil) != (row.want != nil) {
			t.Errorf("unpack(%q) = %q, %v", row.text, got, err)
		}
	}
}

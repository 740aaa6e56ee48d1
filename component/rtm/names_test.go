package rtm

import (
	"strings"
	"testing"
)

func TestNameProblem(t *testing.T) {
	for _, row := range []struct {
		name, value, problem string
	}{
		{"a word", "my_channel", ""},
		{"all symbols", symbols, ""},
		{"letters and digits", "azAZ09", ""},
		{"the maximum length", strings.Repeat("a", 64), ""},
		{"an underscore at the end", "a_", ""},
		{"too long", strings.Repeat("a", 65), "must be at most 64 bytes, got 65"},
		{"empty", "", "must not be empty"},
		{"an underscore at the beginning", "_a", "must not begin with an underscore"},
		{"a dot", "a.b", `must not contain the character "."`},
		{"an asterisk", "*", `must not contain the character "*"`},
		{"a slash", "a/b", `must not contain the character "/"`},
		{"a backslash", `a\b`, `must not contain the character "\\"`},
		{"quotes", `a"b'`, `must not contain the character "\""`},
		{"a NUL", "a\x00", `must not contain the character "\x00"`},
		{"a tabulator", "a\tb", `must not contain the character "\t"`},
		{"a letter outside ASCII", "kanäle", `must not contain the character "ä"`},
		{"invalid UTF-8", "a\xff", `must not contain the character "\xff"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := nameProblem(row.value); got != row.problem {
				t.Errorf("nameProblem(%q) = %q, want %q", row.value, got, row.problem)
			}
		})
	}
}

package rtm

import (
	"strings"
	"testing"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
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

func TestLock_Key(t *testing.T) {
	for _, row := range []struct {
		l   lock
		key string
	}{
		{lock{channel{rtmpb.ChannelType_MESSAGE, "my_channel"}, "my_lock"}, "rtm||1||my_channel||my_lock"},
		{lock{channel{rtmpb.ChannelType_STREAM, "my_channel"}, "my_lock"}, "rtm||2||my_channel||my_lock"},
		{lock{channel{rtmpb.ChannelType_MESSAGE, "a||b"}, "c"}, "rtm||1||a%7C%7Cb||c"},
		{lock{channel{rtmpb.ChannelType_MESSAGE, "a"}, "b||c"}, "rtm||1||a||b%7C%7Cc"},
		{lock{channel{rtmpb.ChannelType_MESSAGE, "100%"}, "%7C"}, "rtm||1||100%25||%257C"},
	} {
		if got := row.l.key(); got != row.key {
			t.Errorf("key of %v = %q, want %q", row.l, got, row.key)
		}
		if got, ok := parseKey(row.key); !ok || got != row.l {
			t.Errorf("parseKey(%q) = %v, %v, want %v", row.key, got, ok, row.l)
		}
	}
}

func TestParseKey_Invalid(t *testing.T) {
	for _, key := range []string{
		"", "rtm||", "rtm||1||c", "rtm||1||c||l||m", "rtm||3||c||l", "rtm||01||c||l", "rtm||1||c|||l", "rtm||1||%||l", "rtm||1||%7c||l",
		"lock||1||c||l",
	} {
		if l, ok := parseKey(key); ok {
			t.Errorf("parseKey(%q) = %v, want false", key, l)
		}
	}
}

// FuzzKeys checks that different locks have different keys, and that a lock's key begins
// with the group of its channel only.
func FuzzKeys(f *testing.F) {
	f.Add("a", "b||c", "a||b", "c")
	f.Add("a|", "b", "a", "|b")
	f.Add("a%7C", "b", "a|", "b")
	f.Fuzz(func(t *testing.T, channelA, nameA, channelB, nameB string) {
		a := lock{channel{rtmpb.ChannelType_MESSAGE, channelA}, nameA}
		b := lock{channel{rtmpb.ChannelType_MESSAGE, channelB}, nameB}
		if nameProblem(channelA)+nameProblem(nameA)+nameProblem(channelB)+nameProblem(nameB) != "" {
			return
		}
		if got, ok := parseKey(a.key()); !ok || got != a {
			t.Errorf("parseKey(%q) = %v, %v, want %v", a.key(), got, ok, a)
		}
		if a != b && a.key() == b.key() {
			t.Errorf("%v and %v have the same key %q", a, b, a.key())
		}
		if a.channel != b.channel && strings.HasPrefix(a.key(), b.group()) {
			t.Errorf("%q begins with the group %q of another channel", a.key(), b.group())
		}
	})
}

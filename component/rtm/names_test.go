package rtm

import (
	"strings"
	"testing"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

func TestNameProblem(t *testing.T) {
	for _, row := range []struct {
		name, value, fault string
	}{
		{"a word", "my_channel", ""},
		{"every symbol there is", symbols, ""},
		{"letters and digits", "azAZ09", ""},
		{"as long as can be", strings.Repeat("a", 64), ""},
		{"an underscore within", "a_", ""},
		{"too long", strings.Repeat("a", 65), "is 65 bytes long, the most is 64"},
		{"nothing", "", "is empty"},
		{"an underscore at the beginning", "_a", "begins with an underscore"},
		{"a dot", "a.b", `has a character that is not allowed, "."`},
		{"an asterisk", "*", `has a character that is not allowed, "*"`},
		{"a slash", "a/b", `has a character that is not allowed, "/"`},
		{"a backslash", `a\b`, `has a character that is not allowed, "\\"`},
		{"quotes", `a"b'`, `has a character that is not allowed, "\""`},
		{"a NUL", "a\x00", `has a character that is not allowed, "\x00"`},
		{"a tabulator", "a\tb", `has a character that is not allowed, "\t"`},
		{"a letter that is not of ASCII", "kanäle", `has a character that is not allowed, "ä"`},
		{"no text", "a\xff", `has a character that is not allowed, "\xff"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := nameProblem(row.value); got != row.fault {
				t.Errorf("%q %s; want %q", row.value, got, row.fault)
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
			t.Errorf("%v has the key %q, want %q", row.l, got, row.key)
		}
		if got, ok := parseKey(row.key); !ok || got != row.l {
			t.Errorf("%q is the key of %v, %v", row.key, got, ok)
		}
	}
}

func TestParseKey_Invalid(t *testing.T) {
	for _, key := range []string{
		"", "rtm||", "rtm||1||c", "rtm||1||c||l||m", "rtm||3||c||l", "rtm||01||c||l", "rtm||1||c|||l", "rtm||1||%||l", "rtm||1||%7c||l",
		"lock||1||c||l",
	} {
		if l, ok := parseKey(key); ok {
			t.Errorf("%q is the key of %v", key, l)
		}
	}
}

// Two locks never have one key, and a lock's key begins with its channel's group and no
// other's.
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
			t.Errorf("%q is the key of %v", a.key(), got)
		}
		if a != b && a.key() == b.key() {
			t.Errorf("%v and %v have the key %q", a, b, a.key())
		}
		if a.channel != b.channel && strings.HasPrefix(a.key(), b.group()) {
			t.Errorf("%q begins with the group %q of another channel", a.key(), b.group())
		}
	})
}

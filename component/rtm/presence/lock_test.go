package presence

import (
	"strings"
	"testing"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

func TestLock_Key(t *testing.T) {
	for _, row := range []struct {
		l   Lock
		key string
	}{
		{Lock{Channel{rtmpb.ChannelType_MESSAGE, "my_channel"}, "my_lock"}, "rtm||1||my_channel||my_lock"},
		{Lock{Channel{rtmpb.ChannelType_STREAM, "my_channel"}, "my_lock"}, "rtm||2||my_channel||my_lock"},
		{Lock{Channel{rtmpb.ChannelType_MESSAGE, "a||b"}, "c"}, "rtm||1||a%7C%7Cb||c"},
		{Lock{Channel{rtmpb.ChannelType_MESSAGE, "a"}, "b||c"}, "rtm||1||a||b%7C%7Cc"},
		{Lock{Channel{rtmpb.ChannelType_MESSAGE, "100%"}, "%7C"}, "rtm||1||100%25||%257C"},
	} {
		if got := row.l.Key(); got != row.key {
			t.Errorf("key of %v = %q, want %q", row.l, got, row.key)
		}
		if got, ok := ParseKey(row.key); !ok || got != row.l {
			t.Errorf("ParseKey(%q) = %v, %v, want %v", row.key, got, ok, row.l)
		}
	}
}

func TestParseKey_Invalid(t *testing.T) {
	for _, key := range []string{
		"", "rtm||", "rtm||1||c", "rtm||1||c||l||m", "rtm||3||c||l", "rtm||01||c||l", "rtm||1||c|||l", "rtm||1||%||l", "rtm||1||%7c||l",
		"lock||1||c||l",
	} {
		if l, ok := ParseKey(key); ok {
			t.Errorf("ParseKey(%q) = %v, want false", key, l)
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
		a := Lock{Channel{rtmpb.ChannelType_MESSAGE, channelA}, nameA}
		b := Lock{Channel{rtmpb.ChannelType_MESSAGE, channelB}, nameB}
		if got, ok := ParseKey(a.Key()); !ok || got != a {
			t.Errorf("ParseKey(%q) = %v, %v, want %v", a.Key(), got, ok, a)
		}
		if a != b && a.Key() == b.Key() {
			t.Errorf("%v and %v have the same key %q", a, b, a.Key())
		}
		if a.Channel != b.Channel && strings.HasPrefix(a.Key(), b.Group()) {
			t.Errorf("%q begins with the group %q of another channel", a.Key(), b.Group())
		}
	})
}

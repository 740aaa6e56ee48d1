package rtm

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestConfig_TTL(t *testing.T) {
	for _, row := range []struct {
		name  string
		asked uint32
		want  time.Duration
	}{
		{"none", 0, 10 * time.Second},
		{"too short", 1, 10 * time.Second},
		{"almost long enough", 9, 10 * time.Second},
		{"the least", 10, 10 * time.Second},
		{"the document's", 30, 30 * time.Second},
		{"the most", 300, 300 * time.Second},
		{"too long", 301, 300 * time.Second},
		{"the longest that can be asked for", math.MaxUint32, 300 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := parseConfig(nil)
			if got := c.ttl(row.asked); got != row.want || err != nil {
				t.Errorf("%d becomes %v, want %v; %v", row.asked, got, row.want, err)
			}
		})
	}
}

func TestConfig_Metadata(t *testing.T) {
	c, err := parseConfig(map[string]string{
		"rtmMinTTL": "1s", "rtmMaxTTL": "1h", "rtmDefaultTTL": "20", "rtmLocksPerChannel": "1000", "store": "redis", "redisHost": "h",
	})
	want := Config{LocksPerChannel: 1000, DefaultTTL: 20 * time.Second, MinTTL: time.Second, MaxTTL: time.Hour}
	if err != nil || c != want {
		t.Errorf("%+v, %v", c, err)
	}
}

// RTM's default TTL is 10s, and gives way to bounds that say otherwise.
func TestConfig_DefaultTTL(t *testing.T) {
	for _, row := range []struct {
		name string
		md   map[string]string
		want time.Duration
	}{
		{"the least is more", map[string]string{"rtmMinTTL": "20s"}, 20 * time.Second},
		{"the most is less", map[string]string{"rtmMinTTL": "1s", "rtmMaxTTL": "5s"}, 5 * time.Second},
		{"neither", map[string]string{"rtmMinTTL": "1s", "rtmMaxTTL": "20s"}, 10 * time.Second},
		{"it is the least", map[string]string{"rtmMinTTL": "1s", "rtmDefaultTTL": "1s"}, time.Second},
		{"it is the most", map[string]string{"rtmDefaultTTL": "300s"}, 300 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			if c, err := parseConfig(row.md); err != nil || c.DefaultTTL != row.want || c.ttl(0) != row.want {
				t.Errorf("%v, %+v, want %v", err, c, row.want)
			}
		})
	}
}

func TestCheckConfig_Invalid(t *testing.T) {
	for key, values := range map[string][]string{
		"rtmLocksPerChannel": {"0", "-1", "many"},
		"rtmMinTTL":          {"0s", "-1s", "900ms", "1500ms", "soon"},
		"rtmMaxTTL":          {"9s", "10500ms", "700000h", "late"},
		"rtmDefaultTTL":      {"x", "0s", "-1s", "900ms", "10500ms", "9s", "301s", "700000h"},
	} {
		for _, value := range values {
			if err := CheckConfig(map[string]string{key: value}); err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s: %s is told as %v", key, value, err)
			}
		}
	}
}

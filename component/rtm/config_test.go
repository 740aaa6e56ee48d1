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
		{"far too short", 1, 10 * time.Second},
		{"too short by a second", 9, 10 * time.Second},
		{"the minimum", 10, 10 * time.Second},
		{"between the bounds", 30, 30 * time.Second},
		{"the maximum", 300, 300 * time.Second},
		{"too long by a second", 301, 300 * time.Second},
		{"the largest number", math.MaxUint32, 300 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := parseConfig(nil)
			if got := c.ttl(row.asked); got != row.want || err != nil {
				t.Errorf("TTL of %d = %v, want %v; error %v", row.asked, got, row.want, err)
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
		t.Errorf("parseConfig = %+v, %v, want %+v", c, err, want)
	}
}

// RTM's default TTL of 10s is limited to the bounds.
func TestConfig_DefaultTTL(t *testing.T) {
	for _, row := range []struct {
		name string
		md   map[string]string
		want time.Duration
	}{
		{"the minimum is longer", map[string]string{"rtmMinTTL": "20s"}, 20 * time.Second},
		{"the maximum is shorter", map[string]string{"rtmMinTTL": "1s", "rtmMaxTTL": "5s"}, 5 * time.Second},
		{"10s is between the bounds", map[string]string{"rtmMinTTL": "1s", "rtmMaxTTL": "20s"}, 10 * time.Second},
		{"it equals the minimum", map[string]string{"rtmMinTTL": "1s", "rtmDefaultTTL": "1s"}, time.Second},
		{"it equals the maximum", map[string]string{"rtmDefaultTTL": "300s"}, 300 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			if c, err := parseConfig(row.md); err != nil || c.DefaultTTL != row.want || c.ttl(0) != row.want {
				t.Errorf("parseConfig = %+v, %v, want the default TTL %v", c, err, row.want)
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
				t.Errorf("CheckConfig of %s %q = %v, want an error that names the key", key, value, err)
			}
		}
	}
}

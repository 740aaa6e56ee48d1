package stores

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// config has a field of each kind that a backend can have.
type config struct {
	Host     string        `mapstructure:"redisHost"`
	TLS      bool          `mapstructure:"enableTLS"`
	Timeout  time.Duration `mapstructure:"dialTimeout"`
	Pool     int           `mapstructure:"poolSize"`
	Share    float64       `mapstructure:"share"`
	Retries  uint8         `mapstructure:"maxRetries"`
	Mode     mode          `mapstructure:"mode"`
	Hidden   string        `mapstructure:"-"`
	Untagged string
}

// mode is a type that decodes itself.
type mode struct{ name string }

func (m *mode) UnmarshalText(text []byte) error {
	if string(text) != "node" {
		return errors.New("must be a mode")
	}
	m.name = string(text)
	return nil
}

func TestDecode_Values(t *testing.T) {
	for _, row := range []struct {
		key, value string
		want       config
	}{
		{"redisHost", "h:1", config{Host: "h:1"}},
		{"REDISHOST", "h:1", config{Host: "h:1"}},
		{"redishost", " h:1 ", config{Host: " h:1 "}},
		{"enableTLS", "true", config{TLS: true}},
		{"enabletls", "Y", config{TLS: true}},
		{"enableTLS", "On", config{TLS: true}},
		{"enableTLS", " 1 ", config{TLS: true}},
		{"enableTLS", "t", config{TLS: true}},
		{"enableTLS", "no", config{}},
		{"enableTLS", "off", config{}},
		{"dialTimeout", "1m30s", config{Timeout: 90 * time.Second}},
		{"dialTimeout", "90", config{Timeout: 90 * time.Second}},
		{"dialTimeout", " -1 ", config{Timeout: -time.Second}},
		{"poolSize", "10", config{Pool: 10}},
		{"share", "0.5", config{Share: 0.5}},
		{"maxRetries", "255", config{Retries: 255}},
		{"mode", "node", config{Mode: mode{"node"}}},
	} {
		t.Run(row.key+"="+row.value, func(t *testing.T) {
			var got config
			if err := Decode(map[string]string{row.key: row.value}, &got); err != nil || got != row.want {
				t.Errorf("Decode returned %v and %+v, want %+v", err, got, row.want)
			}
		})
	}
}

func TestDecode_Defaults(t *testing.T) {
	defaults := config{Host: "h:1", TLS: true, Timeout: time.Second, Pool: 7, Mode: mode{"node"}}
	for _, md := range []map[string]string{
		nil,
		{},
		{"redisHost": "", "enableTLS": "", "dialTimeout": "", "poolSize": "", "mode": ""},
		{"": "", "unknown": "x", "keyPrefix": "none"},
	} {
		got := defaults
		if err := Decode(md, &got); err != nil || got != defaults {
			t.Errorf("Decode of %v returned %v and %+v", md, err, got)
		}
	}
}

// The values are what a user might enter who writes a password into the wrong line.
func TestDecode_ErrorsOmitValue(t *testing.T) {
	for _, row := range []struct{ key, value, want string }{
		{"enableTLS", "pa55word", "metadata key enableTLS: must be true or false"},
		{"ENABLETLS", "pa55word", "metadata key enableTLS: must be true or false"},
		{"dialTimeout", "pa55word", "metadata key dialTimeout: must be a duration such as 1m30s or a whole number of 1s"},
		{"dialTimeout", "9999999999999", "metadata key dialTimeout: must be at most 2562047h47m16.854775807s"},
		{"mode", "pa55word", "metadata key mode: must be a mode"},
		{"poolSize", "pa55word", "metadata key poolSize: "},
		{"poolSize", "99999999999999999999", "metadata key poolSize: "},
		{"share", "pa55word", "metadata key share: "},
		{"maxRetries", "pa55word", "metadata key maxRetries: "},
		{"maxRetries", "25600", "metadata key maxRetries: "},
		{"maxRetries", "-1000", "metadata key maxRetries: "},
	} {
		t.Run(row.key+"="+row.value, func(t *testing.T) {
			err := Decode(map[string]string{row.key: row.value}, &config{})
			if err == nil || !strings.HasPrefix(err.Error(), row.want) {
				t.Fatalf("Decode returned %v, want %q", err, row.want)
			}
			if strings.Contains(err.Error(), row.value) {
				t.Errorf("%q contains the value", err)
			}
		})
	}
}

func TestDecode_KeysDifferInCase(t *testing.T) {
	for _, row := range []struct{ key, twin string }{
		{"redisHost", "redishost"},
		{"REDISHOST", "redisHost"},
		{"X", "x"},                      // unknown ones too
		{"redisHost", "redi\u017fHost"}, // a long s
		{"\u212aeyPrefix", "keyPrefix"}, // the kelvin sign
	} {
		md := map[string]string{row.key: "pa55word", row.twin: "h:1", "mode": "node"}
		pair := []string{row.key, row.twin}
		slices.Sort(pair)
		want := fmt.Sprintf("metadata keys %s and %s differ only in case", pair[0], pair[1])
		if err := Decode(md, &config{}); err == nil || err.Error() != want {
			t.Errorf("Decode returned %v, want %s", err, want)
		}
	}
}

func TestDecode_HugeMetadata(t *testing.T) {
	md := map[string]string{"redisHost": strings.Repeat("h", 1<<20), strings.Repeat("k", 1<<20): "x"}
	for i := range 10000 {
		md[fmt.Sprint("key", i)] = "x"
	}
	var got config
	if err := Decode(md, &got); err != nil || len(got.Host) != 1<<20 {
		t.Errorf("Decode returned %v and a host of %d bytes", err, len(got.Host))
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("redisHost", "pa55word", "enableTLS", "pa55word")
	f.Add("", "", "", "pa55word")
	f.Add("mode", "\xff\xfe\xfd\xfc", "MODE", "\x00\x00\x00\x00")
	f.Add("dialTimeout", "1e999999", "poolSize", "0x_1_2_3_4")
	f.Add("maxRetries", strings.Repeat("9", 50), "share", "Infinity")
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string) {
		err := Decode(map[string]string{key1: value1, key2: value2}, &config{})
		if err == nil {
			return
		}
		for _, value := range []string{value1, value2} {
			if len(value) >= 24 && strings.Contains(err.Error(), value) && !strings.Contains(key1+key2, value) {
				t.Errorf("%q contains the value %q", err, value)
			}
		}
	})
}

func TestParseDuration(t *testing.T) {
	for _, row := range []struct {
		value string
		unit  time.Duration
		want  time.Duration
		err   string
	}{
		{"5", time.Second, 5 * time.Second, ""},
		{"5", time.Millisecond, 5 * time.Millisecond, ""},
		{"+5", time.Second, 5 * time.Second, ""},
		{"-1", time.Second, -time.Second, ""},
		{"0", time.Second, 0, ""},
		{" 5s\n", time.Millisecond, 5 * time.Second, ""},
		{"1h2m3.5s", time.Second, time.Hour + 2*time.Minute + 3500*time.Millisecond, ""},
		{"9223372036", time.Second, 9223372036 * time.Second, ""},
		{"9223372037", time.Second, 0, "must be at most 2562047h47m16.854775807s"},
		{"-9223372037", time.Second, 0, "must be at most 2562047h47m16.854775807s"},
		{"9223372036854775807", time.Nanosecond, math.MaxInt64, ""},
		{"9223372036854775807", 2, 0, "must be at most 2562047h47m16.854775807s"},
		{"9223372036854775808", time.Second, 0, "must be a duration such as 1m30s or a whole number of 1s"},
		{"", time.Second, 0, "must be a duration such as 1m30s or a whole number of 1s"},
		{"1.5", time.Millisecond, 0, "must be a duration such as 1m30s or a whole number of 1ms"},
		{"soon", time.Second, 0, "must be a duration such as 1m30s or a whole number of 1s"},
	} {
		t.Run(fmt.Sprintf("%q in %v", row.value, row.unit), func(t *testing.T) {
			got, err := ParseDuration(row.value, row.unit)
			if got != row.want || (err == nil) != (row.err == "") || err != nil && err.Error() != row.err {
				t.Errorf("ParseDuration returned %v, %v, want %v, %q", got, err, row.want, row.err)
			}
		})
	}
}

func FuzzParseDuration(f *testing.F) {
	f.Add("5", int64(time.Second))
	f.Add("9223372036854775807", int64(time.Hour))
	f.Add("-9223372036854775808", int64(2))
	f.Add("1m30s", int64(1))
	f.Add("\xff", int64(time.Millisecond))
	f.Fuzz(func(t *testing.T, value string, unit int64) {
		if unit <= 0 {
			t.Skip("a unit is positive")
		}
		d, err := ParseDuration(value, time.Duration(unit))
		n, notWhole := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		switch {
		case err != nil && len(value) >= 12 && strings.Contains(err.Error(), value):
			t.Errorf("%q contains the value", err)
		case err == nil && notWhole == nil && (int64(d)/unit != n || int64(d)%unit != 0):
			t.Errorf("%s times %d is %d", value, unit, int64(d))
		}
	})
}

func TestKeys(t *testing.T) {
	want := []string{
		"store", "keyPrefix", "redisHost", "enableTLS", "dialTimeout", "poolSize", "share", "maxRetries", "mode",
	}
	for _, c := range []any{config{}, &config{}} {
		if got := Keys(c); !slices.Equal(got, want) {
			t.Errorf("Keys of %v are %q, want %q", reflect.TypeOf(c), got, want)
		}
	}
}

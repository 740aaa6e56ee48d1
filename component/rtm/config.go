package rtm

import (
	"fmt"
	"math"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// Config is the metadata of a component that this API reads, whatever the store. The
// defaults are RTM's own bounds.
type Config struct {
	// LocksPerChannel is the largest number of locks in a channel. The default is 32.
	LocksPerChannel int `mapstructure:"rtmLocksPerChannel"`
	// DefaultTTL is the TTL of a lock that is set without one. The default is the TTL
	// nearest to 10s between MinTTL and MaxTTL.
	DefaultTTL time.Duration `mapstructure:"rtmDefaultTTL"`
	// MinTTL replaces shorter TTLs in requests. The default is 10s.
	MinTTL time.Duration `mapstructure:"rtmMinTTL"`
	// MaxTTL replaces longer TTLs in requests. The default is 300s.
	MaxTTL time.Duration `mapstructure:"rtmMaxTTL"`
}

const (
	// rtmTTL is RTM's shortest TTL, and the TTL of a lock that is set without one.
	rtmTTL = 10 * time.Second
	// unsetTTL is a TTL that is not in the metadata.
	unsetTTL = time.Duration(math.MinInt64)
)

// CheckConfig returns an error that names the metadata key with a bad value.
func CheckConfig(md map[string]string) error {
	_, err := parseConfig(md)
	return err
}

func parseConfig(md map[string]string) (Config, error) {
	c := Config{LocksPerChannel: 32, DefaultTTL: unsetTTL, MinTTL: rtmTTL, MaxTTL: 300 * time.Second}
	if err := stores.Decode(md, &c); err != nil {
		return Config{}, err
	}
	if c.DefaultTTL == unsetTTL {
		c.DefaultTTL = c.nearest(rtmTTL)
	}
	switch {
	case c.LocksPerChannel < 1:
		return Config{}, fmt.Errorf("metadata key rtmLocksPerChannel: must be at least 1, got %d", c.LocksPerChannel)
	case isInvalidTTL(c.MinTTL, time.Second, stores.MaxTTL):
		return Config{}, ttlError("rtmMinTTL", fmt.Sprintf("1 to %d", math.MaxInt32), c.MinTTL)
	case isInvalidTTL(c.MaxTTL, c.MinTTL, stores.MaxTTL):
		return Config{}, ttlError("rtmMaxTTL", fmt.Sprintf("rtmMinTTL to %d", math.MaxInt32), c.MaxTTL)
	case isInvalidTTL(c.DefaultTTL, c.MinTTL, c.MaxTTL):
		return Config{}, ttlError("rtmDefaultTTL", "rtmMinTTL to rtmMaxTTL", c.DefaultTTL)
	}
	return c, nil
}

// isInvalidTTL reports whether d is outside the bounds or not a whole number of seconds.
func isInvalidTTL(d, least, most time.Duration) bool {
	return d < least || d > most || d%time.Second != 0
}

func ttlError(key, bounds string, got time.Duration) error {
	return fmt.Errorf("metadata key %s: must be a whole number of seconds from %s, got %v", key, bounds, got)
}

// ttl returns the TTL that a lock gets for the requested one, in seconds. Zero means that
// none was requested.
func (c Config) ttl(seconds uint32) time.Duration {
	if seconds == 0 {
		return c.DefaultTTL
	}
	return c.nearest(time.Duration(seconds) * time.Second)
}

// nearest returns the TTL within the bounds that is nearest to d.
func (c Config) nearest(d time.Duration) time.Duration { return min(max(d, c.MinTTL), c.MaxTTL) }

package rtm

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// Config is what a component's metadata says to this API, whatever the store. The
// defaults are RTM's own bounds.
type Config struct {
	LocksPerChannel int           `mapstructure:"rtmLocksPerChannel"` // the most; 32
	DefaultTTL      time.Duration `mapstructure:"rtmDefaultTTL"`      // of a lock that is set without one; 10s, or what is nearest
	MinTTL          time.Duration `mapstructure:"rtmMinTTL"`          // shorter ones are lengthened to it; 10s
	MaxTTL          time.Duration `mapstructure:"rtmMaxTTL"`          // longer ones are shortened to it; 300s
}

const (
	// rtmTTL is RTM's least TTL, and that of a lock that is set without one.
	rtmTTL = 10 * time.Second
	// unset is a TTL that metadata does not tell.
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
		return Config{}, errors.New("metadata key rtmLocksPerChannel: is less than 1")
	case isInvalidTTL(c.MinTTL, time.Second, stores.MaxTTL):
		return Config{}, errors.New("metadata key rtmMinTTL: is not a number of whole seconds, from 1s up")
	case isInvalidTTL(c.MaxTTL, c.MinTTL, stores.MaxTTL):
		return Config{}, fmt.Errorf("metadata key rtmMaxTTL: is not a number of whole seconds, from rtmMinTTL up to %d", math.MaxInt32)
	case isInvalidTTL(c.DefaultTTL, c.MinTTL, c.MaxTTL):
		return Config{}, errors.New("metadata key rtmDefaultTTL: is not a number of whole seconds, from rtmMinTTL to rtmMaxTTL")
	}
	return c, nil
}

// isNoTTL tells whether d is out of its bounds, or is no number of whole seconds.
func isInvalidTTL(d, least, most time.Duration) bool {
	return d < least || d > most || d%time.Second != 0
}

// ttl is what becomes of a TTL that was asked for, in seconds; 0 is none.
func (c Config) ttl(seconds uint32) time.Duration {
	if seconds == 0 {
		return c.DefaultTTL
	}
	return c.nearest(time.Duration(seconds) * time.Second)
}

// nearest is the TTL within the bounds that is nearest to d.
func (c Config) nearest(d time.Duration) time.Duration { return min(max(d, c.MinTTL), c.MaxTTL) }

// seconds is a TTL on the wire.
func seconds(ttl time.Duration) uint32 { return uint32((ttl + time.Second - 1) / time.Second) }

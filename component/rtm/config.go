package rtm

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// Config is what a component's metadata says to this door, whatever the store. The defaults are RTM's own bounds.
type Config struct {
	LocksPerChannel int           `mapstructure:"rtmLocksPerChannel"` // the most; 32
	DefaultTTL      time.Duration `mapstructure:"rtmDefaultTTL"`      // of a lock that is set without one; 10s
	MinTTL          time.Duration `mapstructure:"rtmMinTTL"`          // shorter ones are lengthened to it; 10s
	MaxTTL          time.Duration `mapstructure:"rtmMaxTTL"`          // longer ones are shortened to it; 300s
}

// CheckConfig returns an error that names the metadata key with a bad value.
func CheckConfig(md map[string]string) error {
	_, err := parseConfig(md)
	return err
}

func parseConfig(md map[string]string) (Config, error) {
	c := Config{LocksPerChannel: 32, DefaultTTL: 10 * time.Second, MinTTL: 10 * time.Second, MaxTTL: 300 * time.Second}
	if err := stores.Decode(md, &c); err != nil {
		return Config{}, err
	}
	switch {
	case c.LocksPerChannel < 1:
		return Config{}, errors.New("metadata key rtmLocksPerChannel: is less than 1")
	case c.MinTTL < time.Second || c.MinTTL%time.Second != 0:
		return Config{}, errors.New("metadata key rtmMinTTL: is not a number of whole seconds, from 1s up")
	case c.MaxTTL < c.MinTTL || c.MaxTTL > stores.MaxTTL || c.MaxTTL%time.Second != 0:
		return Config{}, fmt.Errorf("metadata key rtmMaxTTL: is not a number of whole seconds, from rtmMinTTL up to %d", math.MaxInt32)
	}
	return c, nil
}

// ttl is what becomes of a TTL that was asked for, in seconds; 0 is none.
func (c Config) ttl(seconds uint32) time.Duration {
	d := time.Duration(seconds) * time.Second
	if seconds == 0 {
		d = c.DefaultTTL
	}
	return min(max(d, c.MinTTL), c.MaxTTL)
}

// seconds is a TTL on the wire.
func seconds(ttl time.Duration) uint32 { return uint32((ttl + time.Second - 1) / time.Second) }

package memory

import (
	"errors"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// Config is the metadata of a component with store: memory.
type Config struct {
	// RestartGrace is the time after the start of the process in which no lock is
	// granted, because clients may still hold locks that the previous process granted.
	// Set it to the longest TTL that clients request.
	RestartGrace time.Duration `mapstructure:"restartGrace"`
}

func parseConfig(md map[string]string) (Config, error) {
	var c Config
	if err := stores.Decode(md, &c); err != nil {
		return Config{}, err
	}
	if c.RestartGrace < 0 {
		return Config{}, errors.New("metadata key restartGrace: must not be negative")
	}
	return c, nil
}

package memory

import (
	"errors"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// Config is the metadata of a component with store: memory.
type Config struct {
	// RestartGrace is for how long after the start of the process no lock is granted: the
	// time in which locks that the process before it had granted may still be relied on.
	// Set it to the longest TTL that clients ask for.
	RestartGrace time.Duration `mapstructure:"restartGrace"`
}

func parseConfig(md map[string]string) (Config, error) {
	var c Config
	if err := stores.Decode(md, &c); err != nil {
		return Config{}, err
	}
	if c.RestartGrace < 0 {
		return Config{}, errors.New("metadata key restartGrace: is negative")
	}
	return c, nil
}

// Package fencedredis shows how to reject writes of a holder that has outlived its lease
// to a value in Redis. Its few lines are meant to be copied. The value and the token are
// two fields of a hash, which a script compares and writes atomically.
//
// A missing token counts as 1, so that a write with 0, which means no token, always
// fails. A hash that is deleted, expires or is evicted loses its token, and a stale
// holder may then write again. Lua's numbers are exact up to 2^53; Mortise's tokens are
// smaller until the year 2255.
package fencedredis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	goredis "github.com/redis/go-redis/v9"
)

// ErrStale reports that a holder with a larger token has written: the caller has lost its
// lock and must stop.
var ErrStale = errors.New("fencing token is stale")

//go:embed set.lua
var source string

var script = goredis.NewScript(source)

// Set writes a value on behalf of the holder of its lock, any number of times. It fails
// with [ErrStale] if a later holder has written.
func Set(ctx context.Context, client goredis.Scripter, key, value string, token uint64) error {
	written, err := script.Run(ctx, client, []string{key}, value, token).Bool()
	if err != nil {
		return err
	}
	if !written {
		return fmt.Errorf("key %q: %w", key, ErrStale)
	}
	return nil
}

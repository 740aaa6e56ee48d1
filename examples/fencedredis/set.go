// Package fencedredis shows how a value in Redis refuses a holder that outlived its
// lease: in few lines, which are meant to be copied. Value and token are two fields of
// one hash, compared and written in one step by a script.
//
// A missing token counts as 1, so that 0, which is no token, never writes. A hash that is
// deleted, expires or is evicted forgets its token, and a stale holder may then write
// again. Lua's numbers are exact up to 2^53; Mortise's tokens stay below until the year
// 2255.
package fencedredis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	goredis "github.com/redis/go-redis/v9"
)

// ErrStale reports that somebody with a larger token has written: the caller has lost its
// lock and must stop.
var ErrStale = errors.New("fencing token is stale")

//go:embed set.lua
var source string

var script = goredis.NewScript(source)

// Set writes a value, for the holder of its lock, as often as it likes. It fails with
// [ErrStale] if a later holder has written.
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

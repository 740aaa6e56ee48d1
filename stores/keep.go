package stores

import (
	"context"
	"time"
)

// giveBackTimeout bounds how long a lock is tried to be given back whose taker is gone.
// After it the TTL ends the lock.
const giveBackTimeout = 2 * time.Second

// Keep returns what TryLock, Lock or LockAll has returned to a caller who is still there.
// From one whose ctx has ended it takes back what was granted, because nobody would
// unlock it, and fails with ctx.Err.
func Keep(ctx context.Context, s Store, grant Grant, err error, owner string, keys ...string) (Grant, error) {
	if err != nil || !grant.Acquired || ctx.Err() == nil {
		return grant, err
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTimeout)
	defer cancel()
	for _, key := range keys {
		_ = s.Unlock(late, key, owner) // what cannot be given back ends with its TTL
	}
	return Grant{}, ctx.Err()
}

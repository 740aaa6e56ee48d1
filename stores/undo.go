package stores

import (
	"context"
	"time"
)

// undoTimeout bounds the release of locks whose caller has gone. Locks that it does not
// release in this time end with their TTL.
const undoTimeout = 2 * time.Second

type callerKey struct{}

// WithCaller returns a ctx by which [TryLock], [Lock] and [LockAll] recognize that their
// caller has gone, namely when ctx has ended. A ctx that is derived from it may end
// earlier, for example because the caller wanted to wait for a limited time. A lock that
// is granted at that moment is kept.
func WithCaller(ctx context.Context) context.Context {
	return context.WithValue(ctx, callerKey{}, ctx)
}

// callerErr returns why the caller has gone, or nil if it is present.
func callerErr(ctx context.Context) error {
	if caller, ok := ctx.Value(callerKey{}).(context.Context); ok {
		return caller.Err()
	}
	return ctx.Err()
}

// undoIfCanceled returns the result of a call that takes the locks of keys. If the locks
// were granted but the caller has gone, it cannot release them: undoIfCanceled releases
// them and fails with the error of the caller's ctx.
func undoIfCanceled(ctx context.Context, s Store, grant Grant, err error, owner string, keys ...string) (Grant, error) {
	if err != nil || !grant.Acquired || callerErr(ctx) == nil {
		return grant, err
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	for _, key := range keys {
		_ = s.Unlock(undo, key, owner) // a lock that cannot be released ends with its TTL
	}
	return Grant{}, callerErr(ctx)
}

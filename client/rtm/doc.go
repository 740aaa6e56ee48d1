// Package rtm acquires the locks of RTM channels: named locks that belong to a channel,
// exist until they are removed, and are owned by users.
//
//	c, err := client.Dial("unix:///tmp/dapr-components-sockets/mortise.sock")
//	...
//	alice, err := rtm.Login(ctx, c, "alice")
//	...
//	defer alice.Logout(ctx, true)
//	lock, err := alice.AcquireLock(ctx, rtm.Message("my_channel"), "my_lock", true)
//	...
//	edit(lock.Context()) // this ctx ends if the lock is lost
//	err = lock.Release(ctx)
//
// The TTL of an RTM lock is how long a user that is offline keeps the lock. [Login] keeps
// the user online, across broken connections and restarts of Mortise, until
// [User.Logout]. While the user is offline, the client does not know when the server
// started the TTL; it therefore ends a [Lock] one TTL after the last time at which the
// server certainly knew the user as online, which is earlier.
//
// [Lock.Rev] is the fencing token. A resource that two owners must never change at the
// same time requires it with every change, and rejects a token that is smaller than the
// largest it has seen.
//
// # Migrating from RTM
//
//	RTM                                    this package
//	rtm.login()                            Login(ctx, c, userID)
//	setLock(channel, type, name, {ttl})    User.SetLock(ctx, channel, name, ttl)
//	acquireLock(..., {retry})              User.AcquireLock(ctx, channel, name, retry)
//	releaseLock, revokeLock                User.ReleaseLock, User.RevokeLock
//	getLock, removeLock                    User.GetLock, User.RemoveLock
//	subscribe(channel, {withLock: true})   User.Events(ctx, channel)
//	EXPIRED events                         Lock.Done, User.Lost
//	errorCode                              errors.Is(err, ErrLockNotExist), Error.Code
//	logout()                               User.Logout(ctx, release)
package rtm

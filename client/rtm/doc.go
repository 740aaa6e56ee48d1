// Package rtm is for the locks of RTM channels: named objects that belong to a channel
// and exist until they are removed, and that users take.
//
//	c, err := client.Dial("unix:///tmp/dapr-components-sockets/mortise.sock")
//	...
//	alice, err := rtm.Login(ctx, c, "alice")
//	...
//	defer alice.Logout(ctx, true)
//	lock, err := alice.AcquireLock(ctx, rtm.Message("my_channel"), "my_lock", true)
//	...
//	edit(lock.Context()) // ends if the lock is lost
//	err = lock.Release(ctx)
//
// A lock's TTL is no lease: it is how long a user keeps his locks who is offline. [Login]
// keeps him online, over broken connections and restarts of Mortise, until [User.Logout].
// While he is offline nobody but Mortise knows when the TTL began; so a [Lock] is taken
// for lost a TTL after the last moment in which Mortise surely knew the user, which is
// earlier.
//
// [Lock.Rev] is the fencing token. What must never be changed by two at once takes it
// along, and refuses one that is smaller than the last it saw.
//
// # For those who come from RTM
//
//	RTM                                        here
//	rtm.login()                                Login(ctx, c, userID)
//	setLock(channel, type, name, {ttl})        User.SetLock(ctx, Message(channel), name, ttl)
//	acquireLock(..., {retry})                  User.AcquireLock(ctx, channel, name, retry): a Lock, whose Context tells its end
//	releaseLock, revokeLock                    User.ReleaseLock or Lock.Release, User.RevokeLock
//	getLock, removeLock                        User.GetLock, User.RemoveLock
//	subscribe(channel, {withLock: true})       User.Events(ctx, channel)
//	EXPIRED events                             Lock.Done, User.Lost
//	errorCode                                  errors.Is(err, ErrLockNotExist), or Error.Code
//	logout()                                   User.Logout(ctx, release)
package rtm

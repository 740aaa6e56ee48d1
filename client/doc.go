// Package client takes distributed locks from a Mortise.
//
//	c, err := client.Dial("unix:///tmp/dapr-components-sockets/mortise.sock")
//	...
//	total, err := client.Do(ctx, c, "order-42", func(ctx context.Context) (int, error) {
//		return bill(ctx) // nobody else does at the same time; ctx ends if the lock is lost
//	})
//
// [Do] is for most: it waits for the lock, first come first served, runs a function and gives the lock back. [Client.Lock],
// [Client.TryLock] and [Client.LockAll] give a [Lease] to keep. A lease renews itself at a third of its TTL. If that fails until
// the TTL is over, its Context ends with the cause [ErrLost] before anybody else gets the lock. If the lock was revoked, the next
// renewal hears of it, and Context ends then. After that the client has nothing more to do with the lock.
//
// No lock can stop a program that does not notice in time. What must never be changed by two at once takes the lease's Token along,
// and refuses one that is smaller than the last it saw.
//
// # For those who come from VonaJS
//
//	VonaJS                                       here
//	scope.redlock.lock(resource, fn)             Do, or Client.Lock and Lease.Unlock
//	scope.redlock.lockIsolate(resource, fn)      DoIsolated
//	instanceName: 'x', null, left out            Tenant("x"), Global(), WithTenant(ctx, ...)
//	redlock: another Redlock                     another Client, or Client.With(Store("other"))
//	lockTTL                                      TTL(d); renewed at a third and not at half
//	level, clientName                            Level(n), DataSource(name), package datasource
//	service.redlock.create({clients, options})   Client.With(...)
//	config.redlock                               options of Dial; the storage is configured in Mortise
//	inspectMeta('redlock')                       Client.List, Client.Watch: the locks that are held
//	clearAllData()                               Client.RevokeAll(ctx, prefix)
//	type `user-${string}`                        Resource[string]("user-${id}")
//
// What goes wrong there in silence is told here: a lock that was lost while fn ran ([ErrLost]), a release that failed, and a lock
// within itself ([ErrDeadlock]). And there are an end to waiting by ctx or [Wait], several locks at once, and fencing tokens.
package client

// Package client takes distributed locks from a Mortise.
//
//	c, err := client.Dial("unix:///tmp/dapr-components-sockets/mortise.sock")
//	...
//	total, err := client.Do(ctx, c, "order-42", func(ctx context.Context) (int, error) {
//		return bill(ctx) // nobody else does at the same time; ctx ends if the lock is lost
//	})
//
// Most programs need [Do] only: it waits for the lock, first come, first served, runs a
// function and releases the lock. [Client.Lock], [Client.TryLock] and [Client.LockAll]
// return a [Lease]. A lease renews itself at a third of its TTL. If renewals fail until
// the TTL is over, its Context ends with the cause [ErrLost] before anybody else gets the
// lock. If the lock was revoked, the next renewal finds out, and Context ends then. After
// that the client sends nothing more for the lock.
//
// No lock can stop a program that does not notice in time. A resource that must never be
// changed by two holders at once therefore takes the lease's Token with every change, and
// refuses one that is smaller than the last it has seen.
//
// # Coming from VonaJS
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
//	vona :create:bean meta redlock               nothing: it generates a class, and here none is needed
//
// There is no TypeScript client; programs in other languages call the same service over
// gRPC.
//
// Failures that VonaJS passes over in silence are reported here: a lock that was lost
// while fn ran ([ErrLost]), a release that failed, and a lock taken within itself
// ([ErrDeadlock]). In addition, ctx or [Wait] can end the wait for a lock, several locks
// can be taken at once, and every lock has a fencing token.
package client

// Package client acquires distributed locks from a Mortise server.
//
//	c, err := client.Dial("unix:///tmp/dapr-components-sockets/mortise.sock")
//	...
//	total, err := client.Do(ctx, c, "order-42", func(ctx context.Context) (int, error) {
//		return bill(ctx) // under the lock; ctx ends if the lock is lost
//	})
//
// Most programs need only [Do]: it waits for the lock, first come, first served, runs a
// function and releases the lock. [Client.Lock], [Client.TryLock] and [Client.LockAll]
// return a [Lease]. The client renews a lease each time a third of its TTL has passed. If
// renewals fail until the TTL has passed, the lease's Context ends with the cause
// [ErrLost] before another owner can acquire the lock. If the lock is revoked, Context
// ends at the next renewal. Then the client sends no more requests for the lock.
//
// No lock stops a program that notices the loss too late. A resource that two holders
// must never change at the same time therefore requires the lease's Token with every
// change, and rejects a token that is smaller than the largest it has seen.
//
// # Migrating from VonaJS
//
//	VonaJS                                    this package
//	scope.redlock.lock(resource, fn)          Do, or Client.Lock
//	scope.redlock.lockIsolate(resource, fn)   DoIsolated
//	instanceName: 'x', null, none             Tenant("x"), Global(), WithTenant
//	redlock: another Redlock                  another Client, or With(Store("x"))
//	lockTTL                                   TTL(d); renewed at a third, not at half
//	level, clientName                         Level(n), DataSource(name)
//	service.redlock.create(...)               Client.With(...)
//	config.redlock                            options of Dial; storage: the server's
//	inspectMeta('redlock')                    Client.List, Client.Watch
//	clearAllData()                            Client.RevokeAll(ctx, prefix)
//	type `user-${string}`                     Resource[string]("user-${id}")
//	vona :create:bean meta redlock            not needed: there is no class to generate
//
// There is no TypeScript client; programs in other languages call the same service over
// gRPC.
//
// This package reports failures that VonaJS ignores: a lock that was lost while fn ran
// ([ErrLost]), a release that failed, and a lock that is acquired within itself
// ([ErrDeadlock]). In addition, ctx or [Wait] can end the wait for a lock, one call can
// acquire several locks, and every lock has a fencing token.
package client

// Package redis keeps locks in one Redis server, the way Dapr's built-in lock.redis does:
// a lock is a string key whose value is the owner and which Redis expires. Both can use
// one Redis at the same time, and each respects the other's locks.
//
// Each lock has a record, the hash mortise:lock:<key> with the owner, the fencing token,
// the TTL, the metadata and the id of the request; it expires with the lock. The key
// mortise:token holds the last number drawn: tokens, revisions and arrivals of waiters
// are numbers of one sequence. While there are waiters, watchers or revocations, and for
// a while after, there are
//
//   - mortise:queue:<key>, a sorted set of the lock's waiters, by their arrival;
//   - mortise:waiter:<id>, a hash with a waiter's request, or a note that it has left;
//   - mortise:blocks:<owner>, a set of the waiters that hold locks as this owner, for
//     finding deadlocks;
//   - mortise:waiting:<key>, a hash from owner to waiter, of the requests with a group;
//   - mortise:process:<id>, the heartbeat of each Store with waiters;
//   - mortise:watched, which exists while there are watchers;
//   - mortise:revoked:<id>, for a minute, a note that a Revoke without an owner has run.
//
// Opening and Ping write keys that begin with mortise:probe: and expire at once.
//
// While locks are declared there are
//
//   - mortise:group:<group>, a hash with the declaration of each of the group's locks: a
//     number of the sequence, the TTL and the id of the request;
//   - mortise:groups, a set of the groups that have locks.
//
// No other keys are written. All but mortise:token and the declarations expire if a
// process dies.
//
// # Other programs
//
// Other programs may lock and keep data in the same database. The value of a key decides
// what it is:
//
//   - A string that its record names as the owner is a lock of Mortise, even if its
//     expiry was removed: then it lasts as long as its record.
//   - A string that expires, and has no such record, is a lock of another program, as
//     node-redlock, redsync and SET NX PX write it; its value is the owner. It excludes
//     Mortise's locks, and they exclude it. Get returns it, and a caller that names its
//     value as the owner can renew, release and revoke it. A Revoke without an owner and
//     a Withdraw end it only if its key begins with lock||, as lock.redis's do; otherwise
//     they fail with ErrNotLock, because the value may be one that a program caches.
//   - Everything else is data. Every call for such a key fails with ErrNotLock, and the
//     next check ends a wait with it.
//
// Lists and watches find locks by the names of their records and by keys that begin with
// lock||. SCAN passes all names of the database for that, but no other key is read or
// sent. A lock whose key the user's permissions exclude is described by its record.
//
// # Waiting
//
// The queue is in Redis, so its order covers all clients of this Redis. The script that
// frees a lock hands it to the next waiter. If the waiter belongs to the Store that runs
// the script, the answer contains the grant; else pub/sub wakes the waiter, and the lock
// is reserved for it for 850 ms, in which it claims the lock for the whole TTL. A waiter
// whose process has died is skipped immediately. A live waiter that does not claim the
// lock in time loses this turn but keeps its place in the queue. Five times a second, and
// when a lock expires, each Store with waiters checks whether it has missed a message.
// This is how it notices that lock.redis has released a lock. lock.redis does not know
// the queue, and can take a lock before its waiters.
//
// When Redis loses its data, waiters enter their queues again at their old places, but
// the first to return may be served before earlier waiters have returned. They keep
// waiting while Redis is unreachable.
//
// # Declared locks
//
// A request with a group belongs to the declaration that it finds first, which it knows
// by its number: when the lock is withdrawn the request fails, even if the lock is
// declared again at once and the message is lost. A waiter whose wait was cancelled, by a
// Withdraw or by the owner's Release in any process, finds a note in place of its data.
// The note lasts for a minute: a waiter that Redis has not seen for longer keeps waiting
// although its owner has given up. A waiter whose process is dead does not count, and the
// owner can request the lock from another process; if the first process comes back, that
// waiter fails with ErrRepeated.
//
// Declarations have no TTL and are only as durable as Redis. When one is lost, its
// waiters fail with ErrNotDeclared.
//
// # Watching
//
// Events use pub/sub and are published only while there are watchers. lock.redis
// publishes no events: a lock that it holds is in a snapshot, and is otherwise noticed
// only if it replaces one that a watcher knew; a lock that it releases is reported as
// expired when its TTL ends or another owner takes it. A waiter that dies between the
// hand-over and the claim is reported as an owner whose lock expired.
//
// # Losing locks
//
// A lock is lost when Redis loses its key: by a restart without persistence, by an
// eviction policy when memory runs out, by FLUSHALL, and by a failover before the key was
// replicated. Tokens still grow then, because they follow Redis's clock and the largest
// token that each Mortise has seen; so a resource that checks tokens stays safe. Redis
// expires locks by its wall clock: setting it forward ends them early.
//
// A lock can also be held although its holder is gone: a request without an answer is
// repeated. If the network delivers the first attempt only after the second was granted
// and the lock was released, the first takes the lock again, until its TTL ends.
package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/dapr/kit/logger"
	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/internal/inflight"
)

var (
	_ stores.Store       = (*Store)(nil)
	_ stores.Renewer     = (*Store)(nil)
	_ stores.Waiter      = (*Store)(nil)
	_ stores.MultiLocker = (*Store)(nil)
	_ stores.Revoker     = (*Store)(nil)
	_ stores.Lister      = (*Store)(nil)
	_ stores.Getter      = (*Store)(nil)
	_ stores.Watcher     = (*Store)(nil)
	_ stores.Declarer    = (*Store)(nil)
	_ stores.Pinger      = (*Store)(nil)
)

// Keys that do not collide with daprd's, which begin with "lock||".
const (
	tokenKey     = "mortise:token"
	recordPrefix = "mortise:lock:"
)

// Backend describes the redis store for a registry. It logs go-redis's messages, which
// otherwise go to standard error, at debug level: calls return what matters in them as
// errors.
func Backend() stores.Backend {
	goredis.SetLogger(clientLog{logger.NewLogger("mortise.redis")})
	return stores.Backend{Config: &Config{}, Explain: explain, Open: open}
}

// clientLog implements go-redis's logging interface.
type clientLog struct{ logger.Logger }

// Printf logs at debug level.
func (l clientLog) Printf(_ context.Context, format string, args ...any) { l.Debugf(format, args...) }

// Store is a client of one Redis. A call whose context is cancelled returns within the
// configured readTimeout; a deadline ends it on time.
type Store struct {
	calls        *inflight.Calls // those that may take long
	client       goredis.UniversalClient
	outage       *outage       // the present one, if any
	retryDelay   time.Duration // the shortest before a request is sent again
	id           string        // unique to this Store
	events       string        // the channel of the events of its database
	queue        *queue        // of the Store's waiters
	requestCount atomic.Uint64 // for unique request ids
	maxToken     atomic.Uint64 // the largest that the Store has received
}

func newStore(options *goredis.UniversalOptions) *Store {
	o := *options
	o.MaxRetries = -1 // see retrier
	s := &Store{
		calls:  inflight.New(),
		client: goredis.NewUniversalClient(&o),
		id:     uuid.NewString(),
		events: eventsPrefix + strconv.Itoa(options.DB),
		outage: &outage{},
	}
	if client, ok := s.client.(*goredis.Client); ok {
		s.retryDelay = min(client.Options().MinRetryBackoff, client.Options().MaxRetryBackoff)
		s.outage = addRetrier(client, options)
	}
	s.queue = newQueue(s)
	return s
}

// TryLock implements [stores.Store].
func (s *Store) TryLock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	if req.Group != "" {
		g, err := s.request(ctx, s.newSingleWaiter(req), false)
		return g, wrap(ctx, "try lock", req.Key, err)
	}
	start := time.Now()
	token, err := s.runScript(ctx, tryLockScript, []string{req.Key},
		req.Owner, millis(req.TTL), s.newRequestID(), encode(req.Metadata)).Int64()
	if err = cmp.Or(err, scriptError(token)); err != nil {
		return stores.Grant{}, wrap(ctx, "try lock", req.Key, err)
	}
	if token == 0 {
		return stores.Grant{}, nil
	}
	s.observeToken(uint64(token))
	return stores.Grant{Acquired: true, Token: uint64(token), TTL: req.TTL, Expires: start.Add(req.TTL)}, nil
}

// Unlock implements [stores.Store]. If the answer is lost and the request is repeated,
// the error is ErrNotHeld although the first attempt released the lock.
func (s *Store) Unlock(ctx context.Context, key, owner string) error {
	return wrap(ctx, "unlock", key, s.endLock(ctx, unlockScript, key, owner, stores.EventReleased.String()))
}

// Revoke implements [stores.Revoker]. It revokes locks of lock.redis too; for those of
// other programs see the package's comment. If owner is empty, a repeated request revokes
// no second lock; else its error is that of Unlock.
func (s *Store) Revoke(ctx context.Context, key, owner string) error {
	return wrap(ctx, "revoke", key, s.endLock(ctx, unlockScript, key, owner, stores.EventRevoked.String(), s.newRequestID()))
}

// endLock runs a script that ends a lock. Its answer contains the locks that went to
// waiters of this Store, which need no claim then: they were granted after the start, and
// for the whole TTL.
func (s *Store) endLock(ctx context.Context, script *goredis.Script, key string, args ...any) error {
	start := time.Now()
	answer, err := s.runScript(ctx, script, []string{key}, args...).Slice()
	if err != nil {
		return err
	}
	for i := 3; i < len(answer); i += 3 {
		id, _ := answer[i-2].(string)
		token, _ := answer[i-1].(int64)
		ttl, _ := answer[i].(int64)
		s.queue.deliver(id, handoff{uint64(token), ttl, start})
	}
	code, ok := answer[0].(int64)
	if !ok {
		return fmt.Errorf("the script's answer must begin with a number, got %v", answer)
	}
	return scriptError(code)
}

// Renew implements [stores.Renewer]. It renews locks of lock.redis too, which have no
// token.
func (s *Store) Renew(ctx context.Context, req stores.Request) (stores.Grant, error) {
	start := time.Now()
	keys := []string{req.Key, recordPrefix + req.Key}
	answer, err := renewScript.Run(ctx, s.client, keys, req.Owner, millis(req.TTL)).Int64()
	if err = cmp.Or(err, scriptError(answer)); err != nil {
		return stores.Grant{}, wrap(ctx, "renew", req.Key, err)
	}
	return stores.Grant{Acquired: true, Token: uint64(answer), TTL: req.TTL, Expires: start.Add(req.TTL)}, nil
}

// Ping implements [stores.Pinger].
func (s *Store) Ping(ctx context.Context) error {
	return wrap(ctx, "ping", probePrefix+s.id, s.probeGrant(ctx))
}

// probeGrant takes a lock that only this Store uses and releases it in one script, so
// that no other client sees it.
func (s *Store) probeGrant(ctx context.Context) error {
	return s.runScript(ctx, pingScript, []string{probePrefix + s.id}).Err()
}

// Close implements [stores.Store]. Waiters leave their queues, if Redis answers in time.
func (s *Store) Close() error {
	done := s.calls.Close()
	select {
	case <-done:
	case <-time.After(2 * callTimeout):
	}
	err := s.client.Close() // ends calls that still wait for an answer
	<-done
	if err != nil && !errors.Is(err, goredis.ErrClosed) {
		return fmt.Errorf("redis: close: %w", err)
	}
	return nil
}

// observeToken records the largest token.
func (s *Store) observeToken(token uint64) {
	for last := s.maxToken.Load(); token > last; last = s.maxToken.Load() {
		if s.maxToken.CompareAndSwap(last, token) {
			return
		}
	}
}

// millis returns the TTL in whole milliseconds, rounded up, as Redis accepts it.
func millis(ttl time.Duration) int64 {
	return int64((ttl + time.Millisecond - 1) / time.Millisecond)
}

// wrap adds the operation and the key to an error, and makes a permanent one an
// ErrRefused. go-redis sometimes reports a context's end as a network timeout; the result
// wraps both then. A timeout of go-redis or of the Store is not the end of ctx, and the
// result does not wrap DeadlineExceeded for it.
func wrap(ctx context.Context, op, key string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, goredis.ErrClosed) {
		err = stores.ErrClosed
	}
	if isPermanent(err) {
		err = permanentError{err}
	}
	if ended := contextErr(ctx); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", ended, err)
	} else if ended == nil && errors.Is(err, context.DeadlineExceeded) {
		err = errors.New(err.Error())
	}
	return fmt.Errorf("redis: %s %q: %w", op, key, err)
}

// contextErr returns ctx.Err, and DeadlineExceeded already if the deadline has passed and
// its timer has not fired yet.
func contextErr(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

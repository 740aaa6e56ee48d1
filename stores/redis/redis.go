// Package redis keeps locks in one Redis server, the way Dapr's built-in lock.redis does:
// a lock is a string key, its value is the owner, its expiry is Redis's. So both can
// serve one Redis, and each sees the other's locks.
//
// Beside each lock stands its record, the hash mortise:lock:<key> with the owner, the
// fencing token, the TTL, the metadata and the id of the request; it lives exactly as
// long. One key, mortise:token, holds the last number given: tokens, revisions and the
// order of waiters are numbers of one sequence. While somebody waits, watches or revokes,
// and for a while after, there are
//
//   - mortise:queue:<key>, a sorted set of those who wait for the lock, by their arrival;
//   - mortise:waiter:<id>, a hash with what one of them wants, or a note that he has left;
//   - mortise:blocks:<owner>, a set of those who wait while they hold a lock as this owner, for finding deadlocks;
//   - mortise:waiting:<key>, a hash with the waiter of each owner who waits for the lock by a request with a group;
//   - mortise:process:<id>, a sign of life of each Store with waiters;
//   - mortise:watched, which tells that events are wanted;
//   - mortise:revoked:<id>, for a minute, a note that a Revoke without an owner was carried out.
//
// Keys that begin with mortise:probe: are written for a moment by opening and by Ping.
//
// While locks are declared there are
//
//   - mortise:group:<group>, a hash with the declaration of each of the group's locks: a number of the sequence, the TTL and the
//     id of the request;
//   - mortise:groups, a set of the groups that have locks.
//
// Nothing else is written. All but mortise:token and what is declared expires by itself
// if a process dies.
//
// # Other programs
//
// Other programs may lock and keep data in the same database. What a key holds decides
// what it is:
//
//   - A string whose record names it as the owner is a lock of ours, also if its expiry was removed:
//     then it lasts as long as its record.
//   - A string that expires, and has no such record, is a lock of another program, as
//     node-redlock, redsync and SET NX PX write it; its value is the owner. It excludes ours, and
//     ours exclude it. Get returns it, and the caller that names its value as the owner can renew,
//     release and revoke it. A Revoke without an owner and a Withdraw end it only if its key begins
//     with lock||, as lock.redis's do; otherwise they fail with ErrNotLock, because the value may
//     be one that a program caches.
//   - Everything else is data. Every call for such a key fails with ErrNotLock, and a wait under
//     way ends with it within a check.
//
// Lists and watches find locks by the names of their records and by keys that begin with
// lock||. SCAN passes all names of the database for that, but no other key is read or
// sent. A lock whose key the user's permissions exclude is described by its record.
//
// # Waiting
//
// The queue is in Redis, so its order is that of all who use this Redis. Whatever frees a
// lock hands it to the next in the same script. If he waits in the Store that runs it,
// its answer tells him; else he is woken by pub/sub, and the lock is his for 850 ms, in
// which he claims it for the whole TTL. Who is killed is passed over at once, and who
// does not claim loses his turn, but not his place if he comes back. Five times a second,
// and when a lock expires, each Store with waiters looks whether a push was lost. A lock
// that lock.redis releases is found free in this way, and lock.redis, which knows no
// queue, can take it before.
//
// When Redis loses its data, waiters enter their queues again at their old places, but
// who comes first of them may be served before others have come. They wait as long as
// Redis is away.
//
// # Declared locks
//
// A request with a group is for the declaration that it finds first, and knows it by its
// number: when the lock is withdrawn the request fails, even if the lock is declared
// again at once and the push is lost. Who is sent away, by a Withdraw or by the owner's
// Unlock in any process, finds a note in the place of his data. The note lasts for a
// minute: one whom Redis has not seen for longer goes on to wait for what his owner has
// given up. A waiter whose process is dead does not wait, and the owner can ask again
// from elsewhere; should the process come back, that waiter fails with ErrRepeated.
//
// What is declared has no TTL and is only as durable as Redis. When it is lost, who waits
// for it fails with ErrNotDeclared.
//
// # Watching
//
// Events come by pub/sub and are published only while somebody watches. What lock.redis
// does is no event: a lock of its own is in a snapshot, and otherwise seen only if it
// takes the place of one that a watcher knew; a lock that it releases is told as expired
// when its time is over or somebody else gets it. A waiter who dies between the handing
// over and the claim is told as an owner whose lock expired.
//
// # Losing locks
//
// A lock is lost when Redis loses its key: by a restart without persistence, by an
// eviction policy when memory runs out, by FLUSHALL, and by a failover before the key was
// replicated. Tokens still grow then, because they follow Redis's clock and the largest
// token that each Mortise has seen; so a resource that checks tokens stays safe. Redis
// ends leases by its wall clock: one that is set forward ends them early.
//
// A lock can also be held without a holder: a request that has no answer is sent again.
// If the network delivers the first try only after the second was granted and the lock
// was given back, it takes the lock once more, until the TTL is over.
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

// Keys of our own, out of the way of daprd's, which begin with "lock||".
const (
	tokenKey     = "mortise:token"
	recordPrefix = "mortise:lock:"
)

// Backend describes the redis store for a registry. It sends go-redis's messages, which
// go to standard error otherwise, to the log of level debug: what matters in them comes
// back as an error of the call.
func Backend() stores.Backend {
	goredis.SetLogger(clientLog{logger.NewLogger("mortise.redis")})
	return stores.Backend{Config: &Config{}, Explain: explain, Open: open}
}

// clientLog is the part of go-redis's logging that it lets us replace.
type clientLog struct{ logger.Logger }

// Printf implements go-redis's logging interface.
func (l clientLog) Printf(_ context.Context, format string, args ...any) { l.Debugf(format, args...) }

// Store is a client of one Redis. A call that is under way when its context is cancelled
// returns within the configured readTimeout; a deadline ends it on time.
type Store struct {
	*inflight
	client       goredis.UniversalClient
	outage       *outage       // at present, if there is one
	retryDelay   time.Duration // before a request is sent again, at least
	id           string        // unique to this Store
	events       string        // the channel of the events of its database
	queue        *queue        // of who wait for locks
	requestCount atomic.Uint64 // counted, for unique request ids
	maxToken     atomic.Uint64 // the largest token this Store has been given
}

func newStore(options *goredis.UniversalOptions) *Store {
	o := *options
	o.MaxRetries = -1 // see retrier
	s := &Store{
		inflight: newInflight(),
		client:   goredis.NewUniversalClient(&o),
		id:       uuid.NewString(),
		events:   eventsPrefix + strconv.Itoa(options.DB),
		outage:   &outage{},
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

// Unlock implements [stores.Store]. If the answer to a release is lost and go-redis
// repeats it, ErrNotHeld tells of the first try's success; if it ended a wait, ErrNotHeld
// or ErrNotOwner does.
func (s *Store) Unlock(ctx context.Context, key, owner string) error {
	return wrap(ctx, "unlock", key, s.endLock(ctx, unlockScript, key, owner, stores.EventReleased.String()))
}

// Revoke implements [stores.Revoker]. A lock that lock.redis took is revoked too; for
// those of other programs see the package's comment. If owner is empty, a repetition by
// go-redis ends nothing more; else it is told as in Unlock.
func (s *Store) Revoke(ctx context.Context, key, owner string) error {
	return wrap(ctx, "revoke", key, s.endLock(ctx, unlockScript, key, owner, stores.EventRevoked.String(), s.newRequestID()))
}

// end runs a script that ends a lock. If that served waiters of this Store, the answer
// tells, and spares them a claim: the locks were handed over after the start, and for the
// whole TTL.
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

// Renew implements [stores.Renewer]. A lock that lock.redis took is renewed too; it has
// no token.
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

// tryToGrant takes a lock of its own and releases it in one script, so that no other
// client sees it.
func (s *Store) probeGrant(ctx context.Context) error {
	return s.runScript(ctx, pingScript, []string{probePrefix + s.id}).Err()
}

// Close implements [stores.Store]. Those who wait leave their queues, if Redis answers in
// time.
func (s *Store) Close() error {
	empty := s.close()
	select {
	case <-empty:
	case <-time.After(2 * callTimeout):
	}
	err := s.client.Close() // ends calls that still hope for an answer
	<-empty
	if err != nil && !errors.Is(err, goredis.ErrClosed) {
		return fmt.Errorf("redis: close: %w", err)
	}
	return nil
}

// saw remembers the largest token.
func (s *Store) observeToken(token uint64) {
	for last := s.maxToken.Load(); token > last; last = s.maxToken.Load() {
		if s.maxToken.CompareAndSwap(last, token) {
			return
		}
	}
}

// millis is the TTL as Redis takes it: whole milliseconds, rounded up.
func millis(ttl time.Duration) int64 {
	return int64((ttl + time.Millisecond - 1) / time.Millisecond)
}

// wrap adds what was tried, and turns an answer that time cannot mend into an ErrRefused.
// go-redis reports a context's end as a network timeout at times; callers get to see
// both. A timeout of its own, or of ours, is not the end of ctx, and does not look like
// it.
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

// ended is ctx.Err, told a moment earlier if the deadline is over and its timer has not
// fired yet.
func contextErr(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

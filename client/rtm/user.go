package rtm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"google.golang.org/grpc"

	"github.com/mortise-lock/mortise/client"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// User is a user that is logged in. Its session continues across broken connections until
// Logout or Close. All methods are safe for concurrent use.
type User struct {
	name  string
	store string
	conn  *grpc.ClientConn
	rpc   rtmpb.ChannelLocksClient

	// sessionCtx has the values of Login's ctx. It ends when the user is logged out, with
	// Err as its cause.
	sessionCtx context.Context
	endSession context.CancelCauseFunc
	ready      chan struct{}  // closed when the first session has started
	background sync.WaitGroup // goroutines; grows only under mu until sessionCtx ends

	mu           sync.Mutex
	locks        map[lockID]*Lock    // that have not ended
	attempts     map[lockID]*attempt // that acquire or release locks
	tombstones   tombstones
	lostList     *lostNode // the last node, which is empty
	revalidating bool      // a revalidation is in progress
}

// Login starts a session of the user and returns when the user is online. [User.Locks]
// returns the locks that the user still holds from an earlier session. An online session
// of the same user elsewhere ends with [ErrDuplicateUserID].
//
// Login uses c's connection and its default of [client.Store]. It fails with
// [ErrNotConnected] if Mortise is unreachable, and with [ErrOperationTimeout] after ten
// seconds without a response. The User uses ctx's values but ignores its end.
func Login(ctx context.Context, c *client.Client, user string) (*User, error) {
	if cause := context.Cause(ctx); cause != nil {
		return nil, interrupted(opSession, cause)
	}
	conn, store := c.Conn()
	u := &User{
		name: user, store: store, conn: conn, rpc: rtmpb.NewChannelLocksClient(conn),
		ready: make(chan struct{}), locks: map[lockID]*Lock{}, attempts: map[lockID]*attempt{}, lostList: newLostNode(),
	}
	u.sessionCtx, u.endSession = context.WithCancelCause(context.WithoutCancel(ctx))
	u.background.Go(u.runSessions)
	bound, cancel := withOperationTimeout(ctx)
	defer cancel()
	select {
	case <-u.ready:
		return u, nil
	case <-u.sessionCtx.Done():
	case <-bound.Done():
		u.logout(interrupted(opSession, context.Cause(bound)), nil)
	}
	u.background.Wait()
	out, _ := errors.AsType[*Error](u.Err())
	return nil, out.cause
}

// Name returns the user's name.
func (u *User) Name() string { return u.name }

// Locks returns the locks that the user has, as far as the client knows, sorted by
// channel and name: those from before the login, and those acquired since.
func (u *User) Locks() []*Lock {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.SortedFunc(maps.Values(u.locks), func(a, b *Lock) int {
		return cmp.Or(
			cmp.Compare(a.Channel.Type, b.Channel.Type), cmp.Compare(a.Channel.Name, b.Channel.Name), cmp.Compare(a.Name, b.Name),
		)
	})
}

// Done returns a channel that is closed when the user is logged out: by Logout or Close,
// by another login of the user, or because the client was closed.
func (u *User) Done() <-chan struct{} { return u.sessionCtx.Done() }

// Err returns nil until Done is closed, and then an [ErrNotLogin] with the reason: it
// also is [ErrDuplicateUserID] if the user has logged in elsewhere, and
// [client.ErrClosed] if the client was closed.
func (u *User) Err() error { return context.Cause(u.sessionCtx) }

// Logout ends the user's session, waits and Locks. With release, the Locks end with
// [ErrReleased]; otherwise they end with [ErrNotLogin], and Mortise keeps them for their
// TTL. They end before the request is sent.
//
// Logout uses ctx's values but ignores its end, and takes at most ten seconds. If it
// fails, the user is logged out nevertheless, and Mortise detects the end of the session.
// If the user was not logged in, Logout fails with ErrNotLogin.
func (u *User) Logout(ctx context.Context, release bool) error {
	lockErr := error(nil)
	if release {
		lockErr = ErrReleased
	}
	if !u.logout(nil, lockErr) {
		return interrupted(opLogout, u.Err())
	}
	u.background.Wait()
	ctx, cancel := withOperationTimeout(context.WithoutCancel(ctx))
	defer cancel()
	_, err := u.rpc.Logout(ctx, &rtmpb.LogoutRequest{Store: u.store, User: u.name, Release: release})
	return u.explain(ctx, opLogout, err)
}

// Close is Logout without release and without a request to Mortise. When it returns, all
// goroutines of the User have ended.
func (u *User) Close() {
	u.logout(nil, nil)
	u.background.Wait()
}

// logout logs the user out, and returns false if the user is not logged in. why is nil
// after a Logout or Close. The locks end with end, or if it is nil for the same reason.
func (u *User) logout(why, end error) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sessionCtx.Err() != nil {
		return false
	}
	out := &Error{Code: ErrNotLogin, Operation: opSession, Reason: fmt.Sprintf("user %q has logged out", u.name), cause: why}
	if why != nil {
		out.Reason = fmt.Sprintf("user %q was logged out: %s", u.name, reasonText(why))
	}
	switch {
	case end != nil:
	case why != nil:
		end = fmt.Errorf("%w: %w", client.ErrLost, out)
	default:
		end = out
	}
	for _, l := range u.locks {
		u.endLock(l, end)
	}
	u.endSession(out)
	return true
}

// Lost returns the locks that the user loses from now on, in order, until ctx ends or the
// user is logged out. Locks that ReleaseLock, Release, Logout or Close end are not lost.
func (u *User) Lost(ctx context.Context) iter.Seq[*Lock] {
	u.mu.Lock()
	first := u.lostList
	u.mu.Unlock()
	return func(yield func(*Lock) bool) {
		for next := first; next.wait(ctx, u.sessionCtx) && yield(next.lock); next = next.next {
		}
	}
}

// lostNode is a node of the list of lost locks; the last one is empty.
type lostNode struct {
	ready chan struct{} // closed when lock and next are set
	lock  *Lock
	next  *lostNode
}

func newLostNode() *lostNode { return &lostNode{ready: make(chan struct{})} }

// append sets the lock of the last node, and returns the new last node.
func (n *lostNode) append(l *Lock) *lostNode {
	n.lock, n.next = l, newLostNode()
	close(n.ready)
	return n.next
}

// wait returns true when n has a lock, and false if ctx ends, or if the session ends
// before.
func (n *lostNode) wait(ctx, session context.Context) bool {
	select {
	case <-n.ready:
	case <-ctx.Done():
	case <-session.Done():
	}
	return ctx.Err() == nil && isClosed(n.ready)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

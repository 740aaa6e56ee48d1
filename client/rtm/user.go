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

// User is somebody who is logged in. His session goes on over broken connections, until
// Logout or Close. All methods are safe for concurrent use.
type User struct {
	name  string
	store string
	conn  *grpc.ClientConn
	rpc   rtmpb.ChannelLocksClient

	sessionCtx context.Context // has the values of Login's ctx; ends when the user is logged out, with Err as its cause
	endSession context.CancelCauseFunc
	ready      chan struct{}  // closed when the first session has begun
	background sync.WaitGroup // all that runs in the background; grows only under mu while online lasts

	mu           sync.Mutex
	locks        map[lockID]*Lock    // that have not ended
	attempts     map[lockID]*attempt // to acquire them, or to give them back
	tombstones   tombstones          // grants of late
	lostList     *lostNode           // the next one
	revalidating bool                // prove runs
}

// Login opens a session of the user and returns when he is online. What he still holds
// since an earlier one is in [User.Locks]. If he is online elsewhere, he is logged out
// there, with [ErrDuplicateUserID].
//
// It goes by c's connection and default of [client.Store], and fails with
// [ErrNotConnected] if Mortise cannot be reached, and after ten seconds without an answer
// with [ErrOperationTimeout]. Of ctx the user keeps the values, not the end.
func Login(ctx context.Context, c *client.Client, user string) (*User, error) {
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

// Locks returns the locks that the user holds as far as is known, sorted by channel and
// name: those that he had when he logged in, and those acquired since.
func (u *User) Locks() []*Lock {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.SortedFunc(maps.Values(u.locks), func(a, b *Lock) int {
		return cmp.Or(
			cmp.Compare(a.Channel.Type, b.Channel.Type), cmp.Compare(a.Channel.Name, b.Channel.Name), cmp.Compare(a.Name, b.Name),
		)
	})
}

// Done is closed when the user is logged out: by Logout or Close, by another login of
// his, or because the client was closed.
func (u *User) Done() <-chan struct{} { return u.sessionCtx.Done() }

// Err is nil until Done is closed, and then an [ErrNotLogin] that tells why: it is an
// [ErrDuplicateUserID] too if the user has logged in elsewhere, and a [client.ErrClosed]
// if the client was closed.
func (u *User) Err() error { return context.Cause(u.sessionCtx) }

// Logout ends the user's session, his waiting for locks and his Locks: with [ErrReleased]
// if they are to be released, else with [ErrNotLogin], and then Mortise keeps them for
// their TTL. They have ended before Mortise hears of it.
//
// It uses ctx's values only and not its end, and takes ten seconds at the most. If it
// fails the user is logged out nevertheless, and Mortise finds that out by itself. If he
// was before, it is an ErrNotLogin.
func (u *User) Logout(ctx context.Context, release bool) error {
	why := error(nil)
	if release {
		why = ErrReleased
	}
	if !u.logout(nil, why) {
		return interrupted(opLogout, u.Err())
	}
	u.background.Wait()
	ctx, cancel := withOperationTimeout(context.WithoutCancel(ctx))
	defer cancel()
	_, err := u.rpc.Logout(ctx, &rtmpb.LogoutRequest{Store: u.store, User: u.name, Release: release})
	return u.explain(ctx, opLogout, err)
}

// Close is Logout without release, and without waiting for Mortise. When it returns
// nothing runs any more.
func (u *User) Close() {
	u.logout(nil, nil)
	u.background.Wait()
}

// logout logs the user out, and returns false if he is already. why is nil if he wants it
// so himself. The locks end with end, or if it is nil for the same reason.
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
// user is logged out. Those that end by ReleaseLock, Release, Logout and Close are not
// lost.
func (u *User) Lost(ctx context.Context) iter.Seq[*Lock] {
	u.mu.Lock()
	first := u.lostList
	u.mu.Unlock()
	return func(yield func(*Lock) bool) {
		for next := first; next.wait(ctx, u.sessionCtx) && yield(next.lock); next = next.next {
		}
	}
}

// lostNode is a lock that was lost, or the place for the next one.
type lostNode struct {
	ready chan struct{} // closed when lock and next are there
	lock  *Lock
	next  *lostNode
}

func newLostNode() *lostNode { return &lostNode{ready: make(chan struct{})} }

// append makes it the loss of l, and returns the place for the next.
func (n *lostNode) append(l *Lock) *lostNode {
	n.lock, n.next = l, newLostNode()
	close(n.ready)
	return n.next
}

// wait returns true when there is a lock, and false if ctx ends, or if there is none and
// online ends.
func (n *lostNode) wait(ctx, online context.Context) bool {
	select {
	case <-n.ready:
	case <-ctx.Done():
	case <-online.Done():
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

package rtm

import (
	"context"
	"errors"
)

// user is a user at one of the env's APIs.
type user struct {
	*env
	api  api
	name string
}

func (w *env) user(name string) user { return user{w, w.apis[0], name} }

// frontDesk is the request of most tests.
var frontDesk = request{store: component, channel: "house", kind: messageType, lock: "front desk", ttl: 30}

// withLock returns the request for another lock of the channel.
func (a request) withLock(lock string) request {
	a.lock = lock
	return a
}

// withRetry returns the request with retry, which waits for the lock.
func (a request) withRetry() request {
	a.retry = true
	return a
}

// call calls an operation.
func (u user) call(operation string, a request) (answer, error) { return u.callIn(u.ctx, operation, a) }

// callIn calls an operation with ctx.
func (u user) callIn(ctx context.Context, operation string, a request) (answer, error) {
	a.user = u.name
	return u.api.call(ctx, operation, a)
}

// must calls an operation that has to succeed.
func (u user) must(operation string, a request) answer {
	u.Helper()
	got, err := u.call(operation, a)
	if err != nil {
		u.Fatalf("%s's %s: %v", u.name, operation, err)
	}
	return got
}

// code calls an operation and returns its error code, which is 0 if it succeeds.
func (u user) code(operation string, a request) int32 {
	u.Helper()
	_, err := u.call(operation, a)
	return u.codeOf(operation, err)
}

// codeOf returns the code of an operation's error. It checks that the Status has the
// operation's name and a reason.
func (w *env) codeOf(operation string, err error) int32 {
	w.Helper()
	if err == nil {
		return 0
	}
	f, ok := errors.AsType[*statusError](err)
	if !ok {
		w.Fatalf("%s: %v", operation, err)
	}
	if f.operation != operationNames[operation] || f.reason == "" {
		w.Errorf("Status of %s has the operation %q and the reason %q", operation, f.operation, f.reason)
	}
	return f.code
}

// locks returns all locks of the channel.
func (u user) locks(a request) []lock {
	u.Helper()
	return u.must(getLock, a).locks
}

// findLock returns the lock if getLock returns it.
func (u user) findLock(a request) (lock, bool) {
	u.Helper()
	for _, l := range u.locks(a) {
		if l.name == a.lock {
			return l, true
		}
	}
	return lock{}, false
}

// state returns the state of the lock: absent, free, or the name of its owner.
func (u user) state(a request) string {
	u.Helper()
	switch l, ok := u.findLock(a); {
	case !ok:
		return "absent"
	case l.owner == "":
		return "free"
	default:
		return l.owner
	}
}

// pendingCall is a call in progress.
type pendingCall struct {
	user
	operation string
	done      chan struct{} // closed when answer and err are set
	answer    answer
	err       error
}

// start starts a call that may wait.
func (u user) start(operation string, a request) *pendingCall {
	p := &pendingCall{user: u, operation: operation, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.answer, p.err = u.call(operation, a)
	}()
	u.Cleanup(func() { <-p.done }) // the env's ctx has ended by then
	return p
}

// isDone reports whether the call has ended.
func (p *pendingCall) isDone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// wait waits until the call ends, and returns its error code.
func (p *pendingCall) wait() int32 {
	p.Helper()
	<-p.done // it ends with the env's ctx at the latest
	return p.codeOf(p.operation, p.err)
}

package rtm

import (
	"context"
	"errors"
)

// user is somebody, at one of the world's ways in.
type user struct {
	*env
	api  api
	name string
}

func (w *env) user(name string) user { return user{w, w.apis[0], name} }

// frontDesk is a lock of a channel, as most tests ask for it.
var frontDesk = request{store: component, channel: "house", kind: messageType, lock: "front desk", ttl: 30}

// other returns the request for another lock of the channel.
func (a request) withLock(lock string) request {
	a.lock = lock
	return a
}

// waiting returns the request that waits.
func (a request) withRetry() request {
	a.retry = true
	return a
}

// call makes a call.
func (u user) call(operation string, a request) (answer, error) { return u.callIn(u.ctx, operation, a) }

// callIn makes a call that ends with ctx.
func (u user) callIn(ctx context.Context, operation string, a request) (answer, error) {
	a.user = u.name
	return u.api.call(ctx, operation, a)
}

// must makes a call that is to succeed.
func (u user) must(operation string, a request) answer {
	u.Helper()
	got, err := u.call(operation, a)
	if err != nil {
		u.Fatalf("%s's %s: %v", u.name, operation, err)
	}
	return got
}

// code makes a call, and returns its error code.
func (u user) code(operation string, a request) int32 {
	u.Helper()
	_, err := u.call(operation, a)
	return u.codeOf(operation, err)
}

// codeOf is the code of an operation's error, whose Status has to name the operation and
// give a reason.
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
		w.Errorf("%s fails with the operation %q, and the reason %q", operation, f.operation, f.reason)
	}
	return f.code
}

// locks are all locks of the channel.
func (u user) locks(a request) []lock {
	u.Helper()
	return u.must(getLock, a).locks
}

// find is the lock in what getLock tells, if it is there.
func (u user) findLock(a request) (lock, bool) {
	u.Helper()
	for _, l := range u.locks(a) {
		if l.name == a.lock {
			return l, true
		}
	}
	return lock{}, false
}

// state tells what has become of the lock: absent, free, or who holds it.
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

// pending is a call under way.
type pendingCall struct {
	user
	operation string
	done      chan struct{} // closed when the others are there
	answer    answer
	err       error
}

// start makes a call that may last.
func (u user) start(operation string, a request) *pendingCall {
	p := &pendingCall{user: u, operation: operation, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.answer, p.err = u.call(operation, a)
	}()
	u.Cleanup(func() { <-p.done }) // the world's ctx has ended by then
	return p
}

// over tells whether the call has ended.
func (p *pendingCall) isDone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// end waits for the call's end, and returns its error code.
func (p *pendingCall) wait() int32 {
	p.Helper()
	<-p.done // it ends with the world's ctx
	return p.codeOf(p.operation, p.err)
}

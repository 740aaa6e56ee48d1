package rtm

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// failureCases are failures of valid requests that do not depend on the lock's state.
var failureCases = []struct {
	name    string
	code    int32
	provoke func(w *env) (operation string, err error)
}{
	{"setLock in a full channel", -14001, func(w *env) (string, error) {
		for i := range 32 {
			w.user("ann").must(setLock, frontDesk.withLock(fmt.Sprint("desk ", i)))
		}
		return w.callAsAnn(setLock, frontDesk)
	}},
	{"a session that another replaces", -10027, func(w *env) (string, error) {
		first, _ := w.user("ann").openSession()
		w.user("ann").openSession()
		return session, first.waitEnd()
	}},
	{"a session when the service closes", -14009, func(w *env) (string, error) {
		s, _ := w.user("ann").openSession()
		w.services[0].Close()
		return session, s.waitEnd()
	}},
	{"a subscription when the service closes", -14009, func(w *env) (string, error) {
		s, _ := w.user("ann").subscribe(frontDesk)
		w.services[0].Close()
		return subscribe, s.waitEnd()
	}},
	{"a session when the process stops", -14009, func(w *env) (string, error) {
		s, _ := w.user("ann").openSession()
		w.sets[0].EndWaiting()
		return session, s.waitEnd()
	}},
	{"a waiting call when the process stops", -14009, func(w *env) (string, error) {
		w.user("bob").must(setLock, frontDesk)
		w.user("bob").must(acquireLock, frontDesk)
		p := w.user("ann").start(acquireLock, frontDesk.withRetry())
		w.waitForWaiters(frontDesk, 1)
		w.sets[0].EndWaiting()
		<-p.done
		return acquireLock, p.err
	}},
	{"a call that would wait after the process has stopped", -14009, func(w *env) (string, error) {
		w.user("bob").must(setLock, frontDesk)
		w.sets[0].EndWaiting()
		return w.callAsAnn(acquireLock, frontDesk.withRetry())
	}},
	{"setLock with a store without declarations", -10022, withBasicStore(setLock, false)},
	{"acquireLock with a store without declarations", -10022, withBasicStore(acquireLock, false)},
	{"acquireLock with retry with a store without declarations", -10022, withBasicStore(acquireLock, true)},
	{"releaseLock with a store without declarations", -10022, withBasicStore(releaseLock, false)},
	{"revokeLock with a store without declarations", -10022, withBasicStore(revokeLock, false)},
	{"getLock with a store without declarations", -10022, withBasicStore(getLock, false)},
	{"removeLock with a store without declarations", -10022, withBasicStore(removeLock, false)},
	{"subscribe with a store without declarations", -10022, withBasicStore(subscribe, false)},
	{"session with a store without declarations", -10022, withBasicStore(session, false)},
}

// callAsAnn calls an operation of ann, or opens a stream.
func (w *env) callAsAnn(operation string, a request) (string, error) {
	a.user = "ann"
	return operation, w.callOrOpen(operation, a)
}

// withBasicStore returns a function that calls the operation with a basicStore.
func withBasicStore(operation string, retry bool) func(w *env) (string, error) {
	return func(w *env) (string, error) {
		r := stores.NewRegistry("plain")
		r.Register("plain", stores.Backend{Config: struct{}{}, Open: func(context.Context, stores.Component) (stores.Store, error) {
			return basicStore{}, nil
		}})
		w.apis = nil
		w.addService(newSet(w.T, r, nil))
		a := frontDesk
		a.retry = retry
		return w.callAsAnn(operation, a)
	}
}

// basicStore is a store without optional abilities. It grants all locks.
type basicStore struct{}

func (basicStore) TryLock(context.Context, stores.Request) (stores.Grant, error) {
	return stores.Grant{Acquired: true, Token: 1}, nil
}
func (basicStore) Unlock(context.Context, string, string) error { return stores.ErrNotHeld }
func (basicStore) Close() error                                 { return nil }

func TestFailures(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		for _, row := range failureCases {
			p.runWithEnv(t, row.name, func(w *env) {
				operation, err := row.provoke(w)
				w.checkStatus(operation, err, row.code, "")
			})
		}
	})
}

// timeout is the code of a call that times out.
const timeout = -14002

func TestAcquireLock_Timeout(t *testing.T) {
	// Only this API waits for the answer of a call that is canceled.
	target{openAPI: openDirect}.withEnv(t, nil, func(w *env) {
		ann, bob := w.user("ann"), w.user("bob")
		bob.must(setLock, frontDesk)
		bob.must(acquireLock, frontDesk)
		ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
		defer cancel()
		_, err := ann.callIn(ctx, acquireLock, frontDesk.withRetry())
		w.checkStatus(acquireLock, err, timeout, "")
		w.waitForWaiters(frontDesk, 0)
	})
}

func TestErrorCodes_Complete(t *testing.T) {
	provoked := []int32{timeout}
	for _, group := range table {
		for _, r := range group.rows {
			provoked = append(provoked, r.code)
		}
	}
	for _, row := range nameFields {
		provoked = append(provoked, row.empty, row.bad)
	}
	for _, row := range badValues {
		provoked = append(provoked, row.code)
	}
	for _, row := range malformedRequests {
		provoked = append(provoked, row.code)
	}
	for _, row := range failureCases {
		provoked = append(provoked, row.code)
	}
	for _, row := range codeTable {
		if !slices.Contains(provoked, row.number) {
			t.Errorf("no test provokes %d %s", row.number, row.name)
		}
	}
}

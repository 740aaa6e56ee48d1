package rtm

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
)

// troubles are how calls fail that have nothing wrong with them, and for locks of which
// nothing is known.
var troubles = []struct {
	name    string
	code    int32
	provoke func(w *world) (operation string, err error)
}{
	{"a channel that is full", -14001, func(w *world) (string, error) {
		for i := range 32 {
			w.user("ann").must(setLock, frontDesk.other(fmt.Sprint("desk ", i)))
		}
		return w.try(setLock, frontDesk)
	}},
	{"a session after which there is another", -10027, func(w *world) (string, error) {
		first, _ := w.user("ann").online()
		w.user("ann").online()
		return session, first.end()
	}},
	{"a session when the service ends", -14009, func(w *world) (string, error) {
		s, _ := w.user("ann").online()
		w.services[0].Close()
		return session, s.end()
	}},
	{"a subscription when the service ends", -14009, func(w *world) (string, error) {
		s, _ := w.user("ann").subscribe(frontDesk)
		w.services[0].Close()
		return subscribe, s.end()
	}},
	{"a session when the process ends", -14009, func(w *world) (string, error) {
		s, _ := w.user("ann").online()
		w.sets[0].EndWaiting()
		return session, s.end()
	}},
	{"a call that waits when the process ends", -14009, func(w *world) (string, error) {
		w.user("bob").must(setLock, frontDesk)
		w.user("bob").must(acquireLock, frontDesk)
		p := w.user("ann").start(acquireLock, frontDesk.waiting())
		w.queue(frontDesk, 1)
		w.sets[0].EndWaiting()
		<-p.done
		return acquireLock, p.err
	}},
	{"a call to wait when the process has ended", -14009, func(w *world) (string, error) {
		w.user("bob").must(setLock, frontDesk)
		w.sets[0].EndWaiting()
		return w.try(acquireLock, frontDesk.waiting())
	}},
	{"setLock without a store that keeps locks", -10022, without(setLock, false)},
	{"acquireLock without a store that keeps locks", -10022, without(acquireLock, false)},
	{"acquireLock with retry without a store that keeps locks", -10022, without(acquireLock, true)},
	{"releaseLock without a store that keeps locks", -10022, without(releaseLock, false)},
	{"revokeLock without a store that keeps locks", -10022, without(revokeLock, false)},
	{"getLock without a store that keeps locks", -10022, without(getLock, false)},
	{"removeLock without a store that keeps locks", -10022, without(removeLock, false)},
	{"subscribe without a store that keeps locks", -10022, without(subscribe, false)},
	{"session without a store that keeps locks", -10022, without(session, false)},
}

// try makes ann's call, or opens her stream.
func (w *world) try(operation string, a ask) (string, error) {
	a.user = "ann"
	return operation, w.attempt(operation, a)
}

// without provokes a call with a store that cannot keep locks while nobody holds them.
func without(operation string, retry bool) func(w *world) (string, error) {
	return func(w *world) (string, error) {
		r := stores.NewRegistry("plain")
		r.Register("plain", stores.Backend{Config: struct{}{}, Open: func(context.Context, stores.Component) (stores.Store, error) {
			return plain{}, nil
		}})
		w.apis = nil
		w.add(openSet(w.T, r, nil))
		a := frontDesk
		a.retry = retry
		return w.try(operation, a)
	}
}

// plain is a store without abilities. It gives a lock to anybody.
type plain struct{}

func (plain) TryLock(context.Context, stores.Request) (stores.Grant, error) {
	return stores.Grant{Acquired: true, Token: 1}, nil
}
func (plain) Unlock(context.Context, string, string) error { return stores.ErrNotHeld }
func (plain) Close() error                                 { return nil }

func TestTroubleHasACode(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		for _, row := range troubles {
			p.run(t, row.name, func(w *world) {
				operation, err := row.provoke(w)
				w.checkStatus(operation, err, row.code, "")
			})
		}
	})
}

// timeout is the code of a call that takes too long.
const timeout = -14002

func TestACallWhoseTimeIsOverFails(t *testing.T) {
	place{openDirect, nil}.run(t, "in process", func(w *world) { // else the client does not wait for the answer
		ann, bob := w.user("ann"), w.user("bob")
		bob.must(setLock, frontDesk)
		bob.must(acquireLock, frontDesk)
		ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
		defer cancel()
		_, err := ann.callIn(ctx, acquireLock, frontDesk.waiting())
		w.checkStatus(acquireLock, err, timeout, "")
		w.queue(frontDesk, 0)
	})
}

func TestEveryCodeIsProvoked(t *testing.T) {
	provoked := []int32{timeout}
	for _, group := range table {
		for _, r := range group.rows {
			provoked = append(provoked, r.code)
		}
	}
	for _, row := range names {
		provoked = append(provoked, row.empty, row.bad)
	}
	for _, row := range badValues {
		provoked = append(provoked, row.code)
	}
	for _, row := range misspelt {
		provoked = append(provoked, row.code)
	}
	for _, row := range troubles {
		provoked = append(provoked, row.code)
	}
	for _, row := range codeTable {
		if !slices.Contains(provoked, row.number) {
			t.Errorf("nothing provokes %d %s", row.number, row.name)
		}
	}
}

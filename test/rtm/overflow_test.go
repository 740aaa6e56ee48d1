package rtm

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// setCount is the number of times that a lock is set and removed. It exceeds all buffers
// between a store and a client that does not read.
const setCount = 2500

func TestSubscribe_SlowSubscriber(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		p.skipVariants(t, "slow subscriber")
		p.withEnv(t, nil, func(w *env) {
			a := request{store: component, channel: strings.Repeat("c", 64), kind: messageType, lock: strings.Repeat("l", 64)}
			ann := user{w, openDirect(w.T, w.services[0]), "ann"} // the fastest API
			a.user = "dora"
			slow, err := w.apis[0].open(w.ctx, subscribe, a)
			if err != nil {
				w.Fatal(err)
			}
			for range setCount {
				ann.must(setLock, a)
				ann.must(removeLock, a)
			}
			ann.must(setLock, a)
			ann.must(setLock, a.withLock("the end"))
			r := newReplica("")
			err = r.follow(slow, "the end")
			// On a slow machine the HTTP server may have closed the connection, because
			// the client read nothing for the write timeout.
			if errors.Is(err, io.ErrUnexpectedEOF) {
				if slow, err = w.apis[0].open(w.ctx, subscribe, a); err == nil {
					err = r.follow(slow, "the end")
				}
			}
			if err != nil {
				w.Fatal(err)
			}
			if len(r.locks) != 2 || r.snapshots < 2 {
				w.Errorf("%d snapshots and locks %+v, want at least 2 and 2", r.snapshots, r.locks)
			}
		})
	})
}

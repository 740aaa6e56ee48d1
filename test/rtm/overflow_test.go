package rtm

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// many is how many times a lock is set and removed: more than lies anywhere between a
// store and a client who does not read.
const setCount = 2500

func TestSubscribe_SlowSubscriber(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		p.skipVariants(t, "slow subscriber")
		p.withEnv(t, nil, func(w *env) {
			a := request{store: component, channel: strings.Repeat("c", 64), kind: messageType, lock: strings.Repeat("l", 64)}
			ann := user{w, openDirect(w.T, w.services[0]), "ann"} // in no time
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
			if errors.Is(err, io.ErrUnexpectedEOF) { // on a slow machine it read nothing for so long that HTTP cut it off
				if slow, err = w.apis[0].open(w.ctx, subscribe, a); err == nil {
					err = r.follow(slow, "the end")
				}
			}
			if err != nil {
				w.Fatal(err)
			}
			if len(r.locks) != 2 || r.snapshots < 2 {
				w.Errorf("after %d snapshots there is %+v", r.snapshots, r.locks)
			}
		})
	})
}

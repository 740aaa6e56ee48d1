package redis

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// TestView_OlderEvents applies events to a list in which "k" is held and declared as of
// revision 10.
func TestView_OlderEvents(t *testing.T) {
	t.Parallel()
	now := stores.LockInfo{Key: "k", Owner: "o", Token: 10, Remaining: time.Minute}
	event := func(kind stores.EventKind, revision uint64, l stores.LockInfo) stores.Event {
		l.Key, l.DeclaredTTL = "k", time.Minute
		return stores.Event{Kind: kind, Revision: revision, Lock: l}
	}
	free := stores.LockInfo{}
	before := stores.LockInfo{Owner: "before", Token: 5}
	both := state{map[string]string{"k": holder(now)}, map[string]time.Duration{"k": time.Hour}}
	for _, row := range []struct {
		name   string
		events []stores.Event
		want   state
	}{
		{"an older declaration", []stores.Event{event(stores.EventDeclared, 9, free)}, both},
		{"the declaration in the list", []stores.Event{event(stores.EventDeclared, 10, free)}, both},
		{"an older withdrawal", []stores.Event{event(stores.EventWithdrawn, 9, before)}, both},
		{"older events of all kinds", []stores.Event{
			event(stores.EventAcquired, 5, before), event(stores.EventDeclared, 6, before), event(stores.EventWithdrawn, 7, before),
			event(stores.EventDeclared, 8, free), event(stores.EventAcquired, 10, now),
		}, both},
		{"a withdrawal", []stores.Event{event(stores.EventWithdrawn, 11, now)}, stateOf(nil)},
		{"a withdrawal of what has expired", []stores.Event{event(stores.EventWithdrawn, 11, free)}, stateOf(nil)},
		{"a withdrawal and a declaration", []stores.Event{
			event(stores.EventWithdrawn, 11, now), event(stores.EventDeclared, 12, free),
		}, state{map[string]string{}, map[string]time.Duration{"k": time.Minute}}},
		{"a release", []stores.Event{event(stores.EventReleased, 11, now)}, state{map[string]string{}, both.declared}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var published []stores.Event
			v := view{handle: func(e stores.Event) error { published = append(published, e); return nil }}
			v.reset("")
			v.put(now)
			v.declared["k"] = declaration{time.Hour, 10}
			for _, e := range row.events {
				if err := v.apply(e); err != nil {
					t.Fatal(err)
				}
			}
			if err := v.publishSnapshot(); err != nil || len(published) != 1 {
				t.Fatalf("published %+v, %v", published, err)
			}
			if got := stateOf(published[0].Locks); !reflect.DeepEqual(got, row.want) {
				t.Errorf("the snapshot is %v, want %v", got, row.want)
			}
		})
	}
}

func TestWatch_FailedReportRequest(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	s := openStore(t, "redisHost", server.Addr)
	w := &watch{store: s, eventBuffer: newEventBuffer()}
	w.reset("")
	w.put(stores.LockInfo{Key: "k"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.checkExpired(ctx)
	if len(w.pendingChecks) != 0 {
		t.Errorf("pending reports: %v, want none", w.pendingChecks)
	}
	w.put(stores.LockInfo{Key: "k"})
	w.checkExpired(t.Context())
	if len(w.pendingChecks) != 1 {
		t.Errorf("after two requests: pending reports %v, want one", w.pendingChecks)
	}
}

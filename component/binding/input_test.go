package binding

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
)

// app is what is told events, behind a sidecar.
type app struct {
	*sidecar
	stream daprpb.InputBinding_ReadClient
	events chan *daprpb.ReadResponse // closed when the stream has ended
	ended  error                     // why
}

// inputOf is an app whose sidecar has initialized an input binding and reads from it.
func (w *world) inputOf(name string, md map[string]string) *app {
	w.Helper()
	s := w.dial(name)
	if _, err := s.input.Init(w.Context(), &daprpb.InputBindingInitRequest{Metadata: properties(md)}); err != nil {
		w.Fatal(err)
	}
	return s.read()
}

func (s *sidecar) read() *app {
	s.Helper()
	stream, err := s.input.Read(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	a := &app{sidecar: s, stream: stream, events: make(chan *daprpb.ReadResponse, 1000)}
	go func() {
		defer close(a.events)
		for {
			m, err := stream.Recv()
			if err != nil {
				a.ended = err
				return
			}
			a.events <- m
		}
	}()
	return a
}

// next waits for an event that is known but for the fields that are named with null.
func (a *app) next(want string) (id string) {
	a.Helper()
	m, ok := <-a.events
	if !ok {
		a.Fatalf("the stream has ended with %v, want %s", a.ended, want)
	}
	a.compare("event", a.decode(m.GetData()), want)
	if m.GetContentType() != "application/json" {
		a.Errorf("the event is %s", m.GetContentType())
	}
	return m.GetMessageId()
}

// answer tells what has become of an event; no fault is success.
func (a *app) answer(id, fault string) {
	a.Helper()
	m := &daprpb.ReadRequest{MessageId: id}
	if fault != "" {
		m.ResponseError = &daprpb.AckResponseError{Message: fault}
	}
	if err := a.stream.Send(m); err != nil {
		a.Fatal(err)
	}
}

// take waits for an event and is content with it.
func (a *app) take(want string) {
	a.Helper()
	a.answer(a.next(want), "")
}

// quiet checks that there is no event as things are.
func (a *app) quiet() {
	a.Helper()
	synctest.Wait()
	select {
	case m, ok := <-a.events:
		a.Fatalf("told %s, %v", m.GetData(), ok)
	default:
	}
}

// end waits for the end of the stream.
func (a *app) end() error {
	a.Helper()
	if m, ok := <-a.events; ok {
		a.Fatalf("told %s instead of an end", m.GetData())
	}
	return a.ended
}

// lock and unlock change the state of a key, through an output binding.
func (s *sidecar) lock(key string) {
	s.Helper()
	s.expect("tryLock", `{"key": "`+key+`", "owner": "o", "ttl": "10m"}`, `{"acquired": true, "token": null, "expiresIn": "600s"}`)
}

func (s *sidecar) unlock(key string) {
	s.Helper()
	s.expect("unlock", `{"key": "`+key+`", "owner": "o"}`, `{"unlocked": true}`)
}

func acquired(key string) string {
	return `{"kind": "ACQUIRED", "revision": null, "key": "` + key + `", "owner": "o", "token": null, "ttl": "600s"}`
}

func released(key string) string {
	return `{"kind": "RELEASED", "revision": null, "key": "` + key + `", "owner": "o", "token": null, "ttl": "600s"}`
}

func reading(keys string) map[string]string {
	return map[string]string{"lockStore": "locks", "keys": keys}
}

func TestAnAppIsToldOfItsKeysInOrder(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.outputOf("b", ofLocks)
		b.lock("order")
		a := w.inputOf("b", reading("order"))
		a.take(`{"kind": "SNAPSHOT", "revision": null, "locks": [
			{"key": "order", "owner": "o", "token": null, "ttl": "600s", "remaining": "600s"}]}`)
		b.lock("orders") // begins alike, and is another
		b.unlock("order")
		b.lock("order")
		b.expect("revoke", `{"key": "order"}`, `{"revoked": true}`)
		a.take(released("order"))
		a.take(acquired("order"))
		a.take(`{"kind": "REVOKED", "revision": null, "key": "order", "owner": "o", "token": null, "ttl": "600s"}`)
		a.quiet()
	})
}

func TestAnAppIsToldOfAllKeysThatBeginAlike(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.outputOf("b", ofLocks)
		a := w.inputOf("b", reading(" order/* ,"))
		a.take(`{"kind": "SNAPSHOT", "revision": null, "locks": []}`)
		b.lock("order/1")
		b.lock("order")
		b.lock("order/2")
		a.take(acquired("order/1"))
		a.take(acquired("order/2"))
		a.quiet()
		time.Sleep(10*time.Minute + time.Millisecond)
		a.take(strings.Replace(released("order/1"), "RELEASED", "EXPIRED", 1))
	})
}

func TestAnEventWaitsForTheOneBeforeOfItsEntry(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.outputOf("b", ofLocks)
		a := w.inputOf("b", reading("k,l"))
		a.take(`{"kind": "SNAPSHOT", "revision": null, "locks": []}`)
		a.take(`{"kind": "SNAPSHOT", "revision": null, "locks": []}`)
		b.lock("k")
		first := a.next(acquired("k"))
		b.unlock("k")
		a.answer("no such event", "")
		time.Sleep(time.Hour)
		a.quiet()
		b.lock("l") // the other entry's events do not wait
		a.take(acquired("l"))
		a.answer(first, "")
		a.take(released("k"))
	})
}

func TestAnEventThatTheAppFailsOnIsGivenAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.outputOf("b", ofLocks)
		a := w.inputOf("b", reading("k"))
		a.take(`{"kind": "SNAPSHOT", "revision": null, "locks": []}`)
		b.lock("k")
		b.unlock("k")
		start := time.Now()
		for range 3 {
			a.answer(a.next(acquired("k")), "out of order")
			a.quiet()
		}
		a.take(acquired("k"))
		if took := time.Since(start); took != 700*time.Millisecond {
			t.Errorf("given four times in %v", took)
		}
		a.take(released("k"))
	})
}

func TestWhatTheAppDoesNotTakeIsMissed(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.outputOf("b", ofLocks)
		a := w.inputOf("b", map[string]string{"lockStore": "locks", "keys": "k", "retries": "1"})
		a.take(`{"kind": "SNAPSHOT", "revision": null, "locks": []}`)
		b.lock("k")
		for range 2 {
			a.answer(a.next(acquired("k")), "down")
		}
		const now = `{"kind": "SNAPSHOT", "revision": null, "missed": true, "locks": [
			{"key": "k", "owner": "o", "token": null, "ttl": "600s", "remaining": null}]}`
		for range 20 { // it goes on for as long as the app is down
			a.answer(a.next(now), "down")
		}
		start := time.Now()
		a.answer(a.next(now), "down")
		id := a.next(now)
		if took := time.Since(start); took > lastPause+firstPause {
			t.Errorf("asked again after %v", took)
		}
		a.answer(id, "")
		b.unlock("k")
		a.take(released("k"))
	})
}

func TestAnAppIsToldOfItsChannels(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.outputOf("b", ofLocks)
		a := w.inputOf("b", map[string]string{"lockStore": "locks", "channels": "MESSAGE/c,stream/c", "user": "eve"})
		for range 2 {
			a.take(`{"eventType": null, "channel": "c", "channelType": null, "locks": []}`)
		}
		const lock = `"channel": "c", "channelType": "STREAM", "lockName": "l"`
		b.expectAny("setLock", `{`+lock+`}`)
		b.expectAny("acquireLock", `{`+lock+`}`)
		a.take(`{"eventType": 2, ` + lock + `, "owner": "", "ttl": 10, "lockRev": 0}`)
		a.take(`{"eventType": 4, ` + lock + `, "owner": "ann", "ttl": 10, "lockRev": null}`)
	})
}

func TestReadingEndsWhenNothingCanCome(t *testing.T) {
	for _, row := range []struct {
		name string
		md   map[string]string
		is   codes.Code
	}{
		{"of nothing", map[string]string{"lockStore": "locks"}, codes.OK},
		{"of what no service takes", map[string]string{"lockStore": "locks", "channels": "MESSAGE/_", "keys": "k", "user": "u"},
			codes.InvalidArgument},
	} {
		t.Run(row.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				a := w.inputOf("b", row.md)
				if row.is != codes.OK {
					for range a.events {
					}
				}
				if err := a.end(); !errors.Is(err, io.EOF) && status.Code(err) != row.is {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

func TestReadingEndsWithTheService(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.outputOf("b", ofLocks)
		a := w.inputOf("b", reading("k"))
		a.take(`{"kind": "SNAPSHOT", "revision": null, "locks": []}`)
		b.lock("k")
		a.next(acquired("k")) // which has no answer yet
		w.Close()
		for what, err := range map[string]error{"reading": a.end(), "reading after the end": a.read().end()} { // daprd logs no io.EOF
			if status.Code(err) != codes.Unavailable {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// TestTroubleIsWaitedFor has a Locks service that fails as the rows say, until nothing is
// wrong any more.
func TestTroubleIsWaitedFor(t *testing.T) {
	inWorld(t, func(w *world) {
		faults := []error{
			status.Error(codes.Unavailable, "store is closed"),
			status.Error(codes.FailedPrecondition, "component is not initialized"),
			status.Error(codes.DeadlineExceeded, "storage is slow"),
			nil,
			status.Error(codes.Unimplemented, "no watch"),
		}
		w.locks = &locksServer{watch: func(stream watchStream) error {
			fault := faults[0]
			faults = faults[1:]
			if fault != nil && status.Code(fault) != codes.Unimplemented {
				return fault
			}
			for _, more := range []bool{true, false} {
				if err := stream.Send(&lockspb.WatchResponse{Kind: lockspb.WatchResponse_SNAPSHOT, More: more}); err != nil {
					return err
				}
			}
			if err := stream.Send(&lockspb.WatchResponse{Kind: lockspb.WatchResponse_SNAPSHOT}); err != nil {
				return err
			}
			return fault
		}}
		start := time.Now()
		a := w.inputOf("b", reading("k"))
		for range 2 { // after each of which the service ends without a word, or for good
			a.take(`{"kind": "SNAPSHOT", "revision": 0, "locks": [], "missed": true, "more": true}`)
			a.take(`{"kind": "SNAPSHOT", "revision": 0, "locks": [], "missed": true}`)
			a.take(`{"kind": "SNAPSHOT", "revision": 0, "locks": []}`)
		}
		if took := time.Since(start); took != 800*time.Millisecond { // 100, 200 and 400 ms, and 100 again
			t.Errorf("asked five times in %v", took)
		}
		if err := a.end(); status.Code(err) != codes.Unimplemented {
			t.Errorf("%v", err)
		}
	})
}

func TestASnapshotThatIsTooLongForDaprdIsToldInParts(t *testing.T) {
	inWorld(t, func(w *world) {
		var rows []*lockspb.Lock
		for i := range 1000 {
			owner := strings.Repeat("\x01", 1000) // each is six bytes in JSON
			rows = append(rows, &lockspb.Lock{Key: fmt.Sprintf("%04d", i), Owner: owner})
		}
		w.locks = &locksServer{watch: func(stream watchStream) error {
			if err := stream.Send(&lockspb.WatchResponse{Kind: lockspb.WatchResponse_SNAPSHOT, Locks: rows, More: true}); err != nil {
				return err
			}
			<-stream.Context().Done()
			return stream.Context().Err()
		}}
		a := w.inputOf("b", reading("*"))
		var told []string
		for len(told) < len(rows) {
			m := <-a.events
			event := a.decode(m.GetData())
			if len(m.GetData()) > maxData || event["more"] != true {
				t.Fatalf("told %d bytes, more is %v", len(m.GetData()), event["more"])
			}
			for _, l := range event["locks"].([]any) {
				told = append(told, l.(map[string]any)["key"].(string))
			}
			a.answer(m.GetMessageId(), "")
		}
		for i, key := range told {
			if key != rows[i].GetKey() {
				t.Fatalf("lock %d is %s", i, key)
			}
		}
		a.quiet()
	})
}

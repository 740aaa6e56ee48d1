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

// app receives events through a sidecar.
type app struct {
	*sidecar
	stream daprpb.InputBinding_ReadClient
	events chan *daprpb.ReadResponse // closed when the stream has ended
	ended  error                     // the stream's error
}

// newInput returns an app whose sidecar has initialized an input binding and reads from
// it.
func (e *env) newInput(name string, md map[string]string) *app {
	e.Helper()
	s := e.dial(name)
	if _, err := s.input.Init(e.Context(), &daprpb.InputBindingInitRequest{Metadata: properties(md)}); err != nil {
		e.Fatal(err)
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

// next waits for an event and compares it. A null in want stands for any value.
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

// ack acknowledges an event. A fault that is not empty rejects it.
func (a *app) ack(id, fault string) {
	a.Helper()
	m := &daprpb.ReadRequest{MessageId: id}
	if fault != "" {
		m.ResponseError = &daprpb.AckResponseError{Message: fault}
	}
	if err := a.stream.Send(m); err != nil {
		a.Fatal(err)
	}
}

// accept waits for an event and accepts it.
func (a *app) accept(want string) {
	a.Helper()
	a.ack(a.next(want), "")
}

// expectNone checks that there is no event before the time moves on.
func (a *app) expectNone() {
	a.Helper()
	synctest.Wait()
	select {
	case m, ok := <-a.events:
		a.Fatalf("got event %s, %v", m.GetData(), ok)
	default:
	}
}

// waitEnd waits for the end of the stream.
func (a *app) waitEnd() error {
	a.Helper()
	if m, ok := <-a.events; ok {
		a.Fatalf("got event %s, want the end of the stream", m.GetData())
	}
	return a.ended
}

// lock and unlock acquire and release a lock through an output binding.
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

func keysMetadata(keys string) map[string]string {
	return map[string]string{"lockStore": "locks", "keys": keys}
}

func TestRead_ExactKey(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		b.lock("order")
		a := e.newInput("b", keysMetadata("order"))
		a.accept(`{"kind": "SNAPSHOT", "revision": null, "locks": [
			{"key": "order", "owner": "o", "token": null, "ttl": "600s", "remaining": "600s"}]}`)
		b.lock("orders") // has the key as its prefix
		b.unlock("order")
		b.lock("order")
		b.expect("revoke", `{"key": "order"}`, `{"revoked": true}`)
		a.accept(released("order"))
		a.accept(acquired("order"))
		a.accept(`{"kind": "REVOKED", "revision": null, "key": "order", "owner": "o", "token": null, "ttl": "600s"}`)
		a.expectNone()
	})
}

func TestRead_Prefix(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		a := e.newInput("b", keysMetadata(" order/* ,"))
		a.accept(`{"kind": "SNAPSHOT", "revision": null, "locks": []}`)
		b.lock("order/1")
		b.lock("order")
		b.lock("order/2")
		a.accept(acquired("order/1"))
		a.accept(acquired("order/2"))
		a.expectNone()
		time.Sleep(10*time.Minute + time.Millisecond)
		a.accept(strings.Replace(released("order/1"), "RELEASED", "EXPIRED", 1))
	})
}

func TestRead_WaitsForAck(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		a := e.newInput("b", keysMetadata("k,l"))
		a.accept(`{"kind": "SNAPSHOT", "revision": null, "locks": []}`)
		a.accept(`{"kind": "SNAPSHOT", "revision": null, "locks": []}`)
		b.lock("k")
		first := a.next(acquired("k"))
		b.unlock("k")
		a.ack("no such event", "")
		time.Sleep(time.Hour)
		a.expectNone()
		b.lock("l") // the other entry's events do not wait
		a.accept(acquired("l"))
		a.ack(first, "")
		a.accept(released("k"))
	})
}

func TestRead_Retries(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		a := e.newInput("b", keysMetadata("k"))
		a.accept(`{"kind": "SNAPSHOT", "revision": null, "locks": []}`)
		b.lock("k")
		b.unlock("k")
		start := time.Now()
		for range 3 {
			a.ack(a.next(acquired("k")), "out of order")
			a.expectNone()
		}
		a.accept(acquired("k"))
		if took := time.Since(start); took != 700*time.Millisecond {
			t.Errorf("four attempts took %v", took)
		}
		a.accept(released("k"))
	})
}

func TestRead_MissedAfterRetries(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		a := e.newInput("b", map[string]string{"lockStore": "locks", "keys": "k", "retries": "1"})
		a.accept(`{"kind": "SNAPSHOT", "revision": null, "locks": []}`)
		b.lock("k")
		for range 2 {
			a.ack(a.next(acquired("k")), "down")
		}
		const now = `{"kind": "SNAPSHOT", "revision": null, "missed": true, "locks": [
			{"key": "k", "owner": "o", "token": null, "ttl": "600s", "remaining": null}]}`
		for range 20 { // the snapshot is repeated while the app is down
			a.ack(a.next(now), "down")
		}
		start := time.Now()
		a.ack(a.next(now), "down")
		id := a.next(now)
		if took := time.Since(start); took > maxBackoff+minBackoff {
			t.Errorf("the pause was %v", took)
		}
		a.ack(id, "")
		b.unlock("k")
		a.accept(released("k"))
	})
}

func TestRead_Channels(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		a := e.newInput("b", map[string]string{"lockStore": "locks", "channels": "MESSAGE/c,stream/c", "user": "eve"})
		for range 2 {
			a.accept(`{"eventType": null, "channel": "c", "channelType": null, "locks": []}`)
		}
		const lock = `"channel": "c", "channelType": "STREAM", "lockName": "l"`
		b.mustInvoke("setLock", `{`+lock+`}`)
		b.mustInvoke("acquireLock", `{`+lock+`}`)
		a.accept(`{"eventType": 2, ` + lock + `, "owner": "", "ttl": 10, "lockRev": 0}`)
		a.accept(`{"eventType": 4, ` + lock + `, "owner": "ann", "ttl": 10, "lockRev": null}`)
	})
}

func TestRead_NothingToRead(t *testing.T) {
	for _, row := range []struct {
		name string
		md   map[string]string
		is   codes.Code
	}{
		{"neither keys nor channels", map[string]string{"lockStore": "locks"}, codes.OK},
		{"an invalid channel", map[string]string{"lockStore": "locks", "channels": "MESSAGE/_", "keys": "k", "user": "u"},
			codes.InvalidArgument},
	} {
		t.Run(row.name, func(t *testing.T) {
			inEnv(t, func(e *env) {
				a := e.newInput("b", row.md)
				if row.is != codes.OK {
					for range a.events {
					}
				}
				if err := a.waitEnd(); !errors.Is(err, io.EOF) && status.Code(err) != row.is {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

func TestRead_Close(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		a := e.newInput("b", keysMetadata("k"))
		a.accept(`{"kind": "SNAPSHOT", "revision": null, "locks": []}`)
		b.lock("k")
		a.next(acquired("k")) // not acknowledged
		e.Close()
		for name, err := range map[string]error{"Read": a.waitEnd(), "Read after Close": a.read().waitEnd()} {
			if status.Code(err) != codes.Unavailable {
				t.Errorf("%s: %v, want an error that daprd logs", name, err)
			}
		}
	})
}

// TestRead_RestartsAfterErrors uses a Locks service that fails with each of the faults.
func TestRead_RestartsAfterErrors(t *testing.T) {
	inEnv(t, func(e *env) {
		faults := []error{
			status.Error(codes.Unavailable, "store is closed"),
			status.Error(codes.FailedPrecondition, "component is not initialized"),
			status.Error(codes.DeadlineExceeded, "storage is slow"),
			nil,
			status.Error(codes.Unimplemented, "no watch"),
		}
		e.locks = &locksServer{watch: func(stream watchStream) error {
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
		a := e.newInput("b", keysMetadata("k"))
		// After the first, Watch returns nil; after the second, a permanent error.
		for range 2 {
			a.accept(`{"kind": "SNAPSHOT", "revision": 0, "locks": [], "missed": true, "more": true}`)
			a.accept(`{"kind": "SNAPSHOT", "revision": 0, "locks": [], "missed": true}`)
			a.accept(`{"kind": "SNAPSHOT", "revision": 0, "locks": []}`)
		}
		// The pauses are 100, 200, 400 and 100 ms.
		if took := time.Since(start); took != 800*time.Millisecond {
			t.Errorf("five attempts took %v", took)
		}
		if err := a.waitEnd(); status.Code(err) != codes.Unimplemented {
			t.Errorf("%v", err)
		}
	})
}

func TestRead_SplitsLongSnapshots(t *testing.T) {
	inEnv(t, func(e *env) {
		var rows []*lockspb.Lock
		for i := range 1000 {
			owner := strings.Repeat("\x01", 1000) // each is six bytes in JSON
			rows = append(rows, &lockspb.Lock{Key: fmt.Sprintf("%04d", i), Owner: owner})
		}
		e.locks = &locksServer{watch: func(stream watchStream) error {
			if err := stream.Send(&lockspb.WatchResponse{Kind: lockspb.WatchResponse_SNAPSHOT, Locks: rows, More: true}); err != nil {
				return err
			}
			<-stream.Context().Done()
			return stream.Context().Err()
		}}
		a := e.newInput("b", keysMetadata("*"))
		var keys []string
		for len(keys) < len(rows) {
			m := <-a.events
			event := a.decode(m.GetData())
			if len(m.GetData()) > maxData || event["more"] != true {
				t.Fatalf("got %d bytes, more is %v", len(m.GetData()), event["more"])
			}
			for _, l := range event["locks"].([]any) {
				keys = append(keys, l.(map[string]any)["key"].(string))
			}
			a.ack(m.GetMessageId(), "")
		}
		for i, key := range keys {
			if key != rows[i].GetKey() {
				t.Fatalf("lock %d is %s", i, key)
			}
		}
		a.expectNone()
	})
}

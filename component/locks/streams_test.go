package locks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores"
)

// fakeStream is a stream that records the messages, or whose Send fails.
type fakeStream[Message any] struct {
	grpc.ServerStream
	ctx      context.Context
	messages []*Message
	delay    time.Duration // for each message
	err      error         // of Send
}

func (s *fakeStream[Message]) Context() context.Context { return s.ctx }

func (s *fakeStream[Message]) Send(m *Message) error {
	time.Sleep(s.delay)
	if s.err != nil {
		return s.err
	}
	s.messages = append(s.messages, m)
	return nil
}

// rows returns n locks of about size bytes each. Every other one is declared.
func rows(n, size int) []stores.LockInfo {
	locks := make([]stores.LockInfo, n)
	for i := range locks {
		locks[i] = stores.LockInfo{
			Key: fmt.Sprintf("%0*d", min(size/3, stores.MaxKeyLen), i), Owner: strings.Repeat("o", min(size/3, stores.MaxOwnerLen)),
			TTL: time.Minute, Remaining: time.Second, Token: uint64(i), Waiters: i, Metadata: map[string]string{"m": strings.Repeat("v", size/3)},
			DeclaredTTL: time.Duration(i%2) * time.Hour,
		}
	}
	return locks
}

// maxMessageBytes is half of what a client accepts in one message.
const maxMessageBytes = 2 << 20

func TestList_Batches(t *testing.T) {
	for _, row := range []struct {
		name    string
		n, size int
	}{
		{"nothing", 0, 0},
		{"one row", 1, 100},
		{"many small rows", 100_000, 60},
		{"large rows", 3000, 6144},
	} {
		t.Run(row.name, func(t *testing.T) {
			store := &scripted{locks: rows(row.n, row.size)}
			s, _ := serve(t, store)
			stream := &fakeStream[lockspb.ListResponse]{ctx: t.Context()}
			if err := s.List(&lockspb.ListRequest{}, stream); err != nil {
				t.Fatal(err)
			}
			i := 0
			for _, m := range stream.messages {
				if proto.Size(m) > maxMessageBytes {
					t.Errorf("a message of %d bytes", proto.Size(m))
				}
				for _, l := range m.GetLocks() {
					checkRow(t, l, store.locks[i])
					i++
				}
			}
			if i != row.n || len(stream.messages) > 1+row.n*row.size/(batchBytes/2) {
				t.Errorf("%d rows in %d messages", i, len(stream.messages))
			}
		})
	}
}

func checkRow(t *testing.T, got *lockspb.Lock, want stores.LockInfo) {
	t.Helper()
	if got.GetKey() != want.Key || got.GetOwner() != want.Owner || got.GetTtl().AsDuration() != want.TTL ||
		got.GetRemaining().AsDuration() != want.Remaining || got.GetToken() != want.Token ||
		got.GetWaiters() != uint32(want.Waiters) || got.GetMetadata()["m"] != want.Metadata["m"] ||
		got.GetDeclared().AsDuration() != want.DeclaredTTL || (got.GetDeclared() != nil) != (want.DeclaredTTL > 0) {
		t.Errorf("got %v, want %+v", got, want)
	}
}

func TestList_InvalidUTF8(t *testing.T) {
	s, _ := serve(t, &scripted{locks: []stores.LockInfo{{Key: "a\xffb", Owner: strings.Repeat("é", 4<<20)}}})
	stream := &fakeStream[lockspb.ListResponse]{ctx: t.Context()}
	if err := s.List(&lockspb.ListRequest{}, stream); err != nil {
		t.Fatal(err)
	}
	m := stream.messages[0]
	if bytes, err := proto.Marshal(m); err != nil || len(bytes) > 10_000 || m.GetLocks()[0].GetKey() != "a\uFFFDb" {
		t.Errorf("%d bytes, %v, key %q", len(bytes), err, m.GetLocks()[0].GetKey())
	}
}

func TestWatchResponse_KindNumbers(t *testing.T) {
	for number, name := range lockspb.WatchResponse_Kind_name {
		if got := stores.EventKind(number).String(); number > 0 && got != name {
			t.Errorf("%d is %s and %s", number, got, name)
		}
	}
	if n := len(lockspb.WatchResponse_Kind_name) - 1; !strings.HasPrefix(stores.EventKind(n+1).String(), "EventKind") {
		t.Errorf("the wire has no %v", stores.EventKind(n+1))
	}
}

func TestWatch_SnapshotsAndChanges(t *testing.T) {
	big, change := rows(3000, 6144), stores.LockInfo{Key: "k", Owner: "o", Token: 9}
	free := stores.LockInfo{Key: "k", DeclaredTTL: time.Minute}
	lost := errors.New("connection lost")
	s, _ := serve(t, &scripted{err: lost, events: []stores.Event{
		{Kind: stores.EventSnapshot, Revision: 1},
		{Kind: stores.EventAcquired, Revision: 2, Lock: change},
		{Kind: stores.EventSnapshot, Revision: 3, Locks: big, Missed: true},
		{Kind: stores.EventRevoked, Revision: 4, Lock: change},
		{Kind: stores.EventDeclared, Revision: 5, Lock: free},
		{Kind: stores.EventWithdrawn, Revision: 6, Lock: free},
	}})
	stream := &fakeStream[lockspb.WatchResponse]{ctx: t.Context()}
	if err := s.Watch(&lockspb.WatchRequest{}, stream); status.Code(err) != codes.Unavailable {
		t.Errorf("ended with %v", err)
	}
	var events []string
	var keys int
	for _, m := range stream.messages {
		if proto.Size(m) > maxMessageBytes {
			t.Errorf("a message of %d bytes", proto.Size(m))
		}
		if m.GetKind() == lockspb.WatchResponse_SNAPSHOT && m.GetRevision() == 3 {
			if !m.GetMissed() {
				t.Error("the snapshot does not report that events were missed")
			}
			for _, l := range m.GetLocks() {
				checkRow(t, l, big[keys])
				keys++
			}
			if m.GetMore() {
				continue
			}
		} else if m.GetMissed() || m.GetMore() {
			t.Errorf("missed or more is set in %v", m)
		}
		events = append(events, fmt.Sprint(m.GetKind(), m.GetRevision(), len(m.GetLocks())))
		if m.GetRevision() > 4 {
			checkRow(t, m.GetLocks()[0], free)
		}
	}
	want, end := "SNAPSHOT 1 0, ACQUIRED 2 1, SNAPSHOT 3 ", ", REVOKED 4 1, DECLARED 5 1, WITHDRAWN 6 1"
	if got := strings.Join(events, ", "); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, end) || keys != len(big) {
		t.Errorf("got %s, with %d rows", got, keys)
	}
}

func TestWatch_ClientEnds(t *testing.T) {
	sendErr := errors.New("client disconnected")
	for _, row := range []struct {
		name   string
		stream *fakeStream[lockspb.WatchResponse]
		want   string
	}{
		{"canceled", &fakeStream[lockspb.WatchResponse]{}, "context canceled"},
		{"Send fails", &fakeStream[lockspb.WatchResponse]{err: sendErr}, sendErr.Error()},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // which fails if a goroutine is left
				s, set := serve(t, &scripted{events: []stores.Event{{Kind: stores.EventSnapshot}, {Kind: stores.EventAcquired}}})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				row.stream.ctx = ctx
				ended := make(chan error, 1)
				go func() { ended <- s.Watch(&lockspb.WatchRequest{}, row.stream) }()
				synctest.Wait()
				cancel()
				if err := <-ended; err == nil || !strings.Contains(err.Error(), row.want) {
					t.Errorf("ended with %v", err)
				}
				_ = set.Close()
			})
		})
	}
}

func TestWatch_SlowClientDoesNotDelayClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, set := serve(t, &scripted{events: []stores.Event{{Kind: stores.EventSnapshot}, {Kind: stores.EventAcquired}, {Kind: stores.EventReleased}}})
		stream := &fakeStream[lockspb.WatchResponse]{ctx: t.Context(), delay: time.Hour}
		ended := make(chan error, 1)
		go func() { ended <- s.Watch(&lockspb.WatchRequest{}, stream) }()
		synctest.Wait()
		start := time.Now()
		if err := set.Close(); err != nil || time.Since(start) != 0 {
			t.Errorf("closed after %v: %v", time.Since(start), err)
		}
		if err := <-ended; status.Code(err) != codes.Unavailable {
			t.Errorf("ended with %v", err)
		}
	})
}

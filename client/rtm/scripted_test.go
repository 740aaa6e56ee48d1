package rtm_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/client/rtm"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// scriptedServer is a server whose responses and events the test determines.
type scriptedServer struct {
	rtmpb.UnimplementedChannelLocksServer
	snapshot  []*rtmpb.LockDetail   // of the snapshot of each session
	events    chan *rtmpb.LockEvent // of the session, after the snapshot
	acquire   func() (*rtmpb.LockResponse, error)
	keepAlive func(claims []*rtmpb.LockDetail) *rtmpb.KeepAliveResponse // or nil
}

// setupScriptedUser starts a server that grants the revs in order, and logs alice in.
func setupScriptedUser(t *testing.T, revs ...uint64) (*scriptedServer, *rtm.User) {
	s, n := setupScripted(t, revs...)
	return s, n.login(t, "alice")
}

// setupScripted starts a server that grants the revs in order.
func setupScripted(t *testing.T, revs ...uint64) (*scriptedServer, *network) {
	s := &scriptedServer{events: make(chan *rtmpb.LockEvent)}
	s.acquire = func() (*rtmpb.LockResponse, error) {
		rev := revs[0]
		revs = revs[1:]
		return penGrant(rev), nil
	}
	n := &network{script: s}
	n.start()
	t.Cleanup(n.stop)
	return s, n
}

func (s *scriptedServer) Session(_ *rtmpb.SessionRequest, stream rtmpb.ChannelLocks_SessionServer) error {
	e := &rtmpb.LockEvent{EventType: rtmpb.LockEvent_SNAPSHOT, Locks: s.snapshot}
	for {
		if err := stream.Send(e); err != nil {
			return err
		}
		select {
		case e = <-s.events:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// Subscribe ends after the snapshot.
func (s *scriptedServer) Subscribe(_ *rtmpb.SubscribeRequest, stream rtmpb.ChannelLocks_SubscribeServer) error {
	return stream.Send(&rtmpb.LockEvent{EventType: rtmpb.LockEvent_SNAPSHOT})
}

func (s *scriptedServer) AcquireLock(context.Context, *rtmpb.AcquireLockRequest) (*rtmpb.LockResponse, error) {
	return s.acquire()
}

func (*scriptedServer) ReleaseLock(context.Context, *rtmpb.ReleaseLockRequest) (*rtmpb.LockResponse, error) {
	return &rtmpb.LockResponse{}, nil
}

func (*scriptedServer) RevokeLock(context.Context, *rtmpb.RevokeLockRequest) (*rtmpb.LockResponse, error) {
	return &rtmpb.LockResponse{}, nil
}

func (*scriptedServer) RemoveLock(context.Context, *rtmpb.RemoveLockRequest) (*rtmpb.LockResponse, error) {
	return &rtmpb.LockResponse{}, nil
}

func (s *scriptedServer) KeepAlive(_ context.Context, m *rtmpb.KeepAliveRequest) (*rtmpb.KeepAliveResponse, error) {
	if s.keepAlive == nil {
		return &rtmpb.KeepAliveResponse{Locks: m.GetHeld()}, nil
	}
	return s.keepAlive(m.GetHeld()), nil
}

// send sends the events to the session.
func (s *scriptedServer) send(events ...*rtmpb.LockEvent) {
	for _, e := range events {
		s.events <- e
	}
	synctest.Wait()
}

// penEvent returns an event of alice's pen.
func penEvent(what rtmpb.LockEvent_Type, rev uint64) *rtmpb.LockEvent {
	return &rtmpb.LockEvent{
		EventType: what, Channel: room.Name, ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "pen",
		Owner: "alice", Ttl: 10, LockRev: rev,
	}
}

// penGrant returns a grant of the pen.
func penGrant(rev uint64) *rtmpb.LockResponse {
	return &rtmpb.LockResponse{
		Channel: room.Name, ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "pen", Ttl: 10, LockRev: rev,
	}
}

func TestLock_EventOrder(t *testing.T) {
	const acquired, released, expired = rtmpb.LockEvent_ACQUIRED, rtmpb.LockEvent_RELEASED, rtmpb.LockEvent_EXPIRED
	for _, row := range []struct {
		name          string
		before, after []*rtmpb.LockEvent // the response, which is a grant of rev 7
		want          error              // of the Lock, or nil
	}{
		{"the grant's event before the response", []*rtmpb.LockEvent{penEvent(acquired, 7)}, nil, nil},
		{"the grant's event after the response", nil, []*rtmpb.LockEvent{penEvent(acquired, 7)}, nil},
		{"the end's event before the response", []*rtmpb.LockEvent{penEvent(acquired, 7), penEvent(released, 7)}, nil, rtm.ErrRevoked},
		{"the end's event after the response", nil, []*rtmpb.LockEvent{penEvent(acquired, 7), penEvent(released, 7)}, rtm.ErrRevoked},
		{"events of an older grant", []*rtmpb.LockEvent{penEvent(released, 5)}, []*rtmpb.LockEvent{penEvent(expired, 6)}, nil},
		{"an event of a newer grant", nil, []*rtmpb.LockEvent{penEvent(acquired, 8)}, rtm.ErrExpired},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, alice := setupScriptedUser(t, 7)
				granted := s.acquire
				s.acquire = func() (*rtmpb.LockResponse, error) {
					s.send(row.before...)
					return granted()
				}
				l := acquire(t, alice, "pen")
				s.send(row.after...)
				if row.want == nil {
					time.Sleep(long)
					checkHeld(t, l)
				} else {
					checkIs(t, "the lock ended with", l.Err(), row.want)
				}
			})
		})
	}
}

func TestLock_LaterGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, alice := setupScriptedUser(t, 7, 9)
		before := acquire(t, alice, "pen")
		after := acquire(t, alice, "pen")
		checkIs(t, "the earlier lock ended with", before.Err(), rtm.ErrExpired)
		checkHeld(t, after)
	})
}

func TestLock_RevokedByOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, alice := setupScriptedUser(t, 7, 9)
		l := acquire(t, alice, "pen")
		if err := alice.RevokeLock(t.Context(), room, "pen", "alice"); err != nil {
			t.Error(err)
		}
		checkIs(t, "the lock ended with", l.Err(), rtm.ErrRevoked)
		l = acquire(t, alice, "pen")
		if err := alice.RemoveLock(t.Context(), room, "pen"); err != nil {
			t.Error(err)
		}
		checkIs(t, "the lock ended with", l.Err(), rtm.ErrRemoved)
	})
}

func TestLock_LostWithoutEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, alice := setupScriptedUser(t, 7)
		var lost atomic.Bool
		s.keepAlive = func(claims []*rtmpb.LockDetail) *rtmpb.KeepAliveResponse {
			if lost.Load() {
				return &rtmpb.KeepAliveResponse{Expired: claims}
			}
			return &rtmpb.KeepAliveResponse{Locks: claims}
		}
		l := acquire(t, alice, "pen")
		time.Sleep(time.Minute)
		checkHeld(t, l)
		lost.Store(true)
		start := time.Now()
		<-l.Done()
		checkIs(t, "the lock ended with", l.Err(), rtm.ErrExpired)
		if took := time.Since(start); took > ttl*2/3 {
			t.Errorf("the loss was detected after %v", took)
		}
	})
}

func TestLock_LossReasonFromEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, alice := setupScriptedUser(t, 7)
		s.keepAlive = func(claims []*rtmpb.LockDetail) *rtmpb.KeepAliveResponse {
			go func() {
				time.Sleep(ttl / 20)
				s.events <- penEvent(rtmpb.LockEvent_REMOVED, 7)
			}()
			return &rtmpb.KeepAliveResponse{Expired: claims}
		}
		l := acquire(t, alice, "pen")
		<-l.Done()
		checkIs(t, "the lock ended with", l.Err(), rtm.ErrRemoved)
	})
}

func TestLock_ValidForTTLAfterRevalidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, alice := setupScriptedUser(t, 7)
		var requests []time.Time
		s.keepAlive = func(claims []*rtmpb.LockDetail) *rtmpb.KeepAliveResponse {
			requests = append(requests, time.Now())
			if len(requests) > 3 {
				claims[0].LockRev++ // another grant does not extend the lock
			}
			time.Sleep(ttl / 5)
			return &rtmpb.KeepAliveResponse{Locks: claims}
		}
		l := acquire(t, alice, "pen")
		<-l.Done()
		checkIs(t, "the lock ended with", l.Err(), rtm.ErrExpired)
		synctest.Wait()
		if got := time.Since(requests[2]); got != ttl {
			t.Errorf("it ended %v after the request, want %v", got, ttl)
		}
	})
}

func TestAcquireLock_ExpiredGrantIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, alice := setupScriptedUser(t, 7, 9)
		granted := s.acquire
		s.acquire = func() (*rtmpb.LockResponse, error) {
			time.Sleep(ttl)
			return granted()
		}
		s.keepAlive = func(claims []*rtmpb.LockDetail) *rtmpb.KeepAliveResponse {
			if claims[0].GetLockRev() == 7 {
				return &rtmpb.KeepAliveResponse{Expired: claims}
			}
			return &rtmpb.KeepAliveResponse{Locks: claims}
		}
		l, err := alice.AcquireLock(t.Context(), room, "pen", true)
		if err != nil || l.Rev != 9 {
			t.Fatalf("AcquireLock returned %v, %v, want rev 9", l, err)
		}
	})
}

func TestAcquireLock_EndedGrantIsNotConfirmed(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(s *scriptedServer, alice *rtm.User, l *rtm.Lock) error
	}{
		{"released", func(_ *scriptedServer, alice *rtm.User, _ *rtm.Lock) error {
			return alice.ReleaseLock(context.Background(), room, "pen")
		}},
		{"released by its handle", func(_ *scriptedServer, _ *rtm.User, l *rtm.Lock) error { return l.Release(context.Background()) }},
		{"revoked", func(_ *scriptedServer, alice *rtm.User, _ *rtm.Lock) error {
			return alice.RevokeLock(context.Background(), room, "pen", "")
		}},
		{"removed", func(_ *scriptedServer, alice *rtm.User, _ *rtm.Lock) error {
			return alice.RemoveLock(context.Background(), room, "pen")
		}},
		{"reported by an event", func(s *scriptedServer, _ *rtm.User, _ *rtm.Lock) error {
			s.send(penEvent(rtmpb.LockEvent_RELEASED, 7))
			return nil
		}},
		{"reported by KeepAlive", func(_ *scriptedServer, _ *rtm.User, l *rtm.Lock) error {
			<-l.Done()
			return nil
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, alice := setupScriptedUser(t, 7, 9, 11)
				granted := s.acquire
				s.acquire = func() (*rtmpb.LockResponse, error) {
					grant, err := granted()
					if grant.GetLockRev() > 7 {
						time.Sleep(ttl / 2) // so that the client confirms the grant
					}
					return grant, err
				}
				s.keepAlive = func(claims []*rtmpb.LockDetail) *rtmpb.KeepAliveResponse {
					switch claims[0].GetLockRev() {
					case 7:
						return &rtmpb.KeepAliveResponse{Expired: claims}
					case 9:
						claims[0].LockRev = 7
					}
					return &rtmpb.KeepAliveResponse{Locks: claims}
				}
				if err := row.end(s, alice, acquire(t, alice, "pen")); err != nil {
					t.Fatal(err)
				}
				l, err := alice.AcquireLock(t.Context(), room, "pen", true)
				if err != nil || l.Rev != 11 {
					t.Fatalf("AcquireLock returned %+v, %v, want rev 11", l, err)
				}
			})
		})
	}
}

func TestEvents_StreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, alice := setupScriptedUser(t)
		n := 0
		for e, err := range alice.Events(t.Context(), room) {
			if e.Type != rtm.EventSnapshot || err != nil {
				t.Errorf("the event is %+v, %v", e, err)
			}
			if n++; n == 3 {
				break
			}
		}
	})
}

package rtm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// typed is an API that uses the generated client with any connection.
type typed struct {
	rtmpb.ChannelLocksClient
	conn grpc.ClientConnInterface
}

func newTyped(conn grpc.ClientConnInterface) typed {
	return typed{rtmpb.NewChannelLocksClient(conn), conn}
}

func (d typed) call(ctx context.Context, operation string, a request) (answer, error) {
	got, err := d.send(ctx, operation, a)
	if err != nil {
		return answer{}, failureOf(err)
	}
	return got, nil
}

func (d typed) send(ctx context.Context, operation string, a request) (answer, error) {
	switch operation {
	case setLock:
		return lockAnswer(d.SetLock(ctx, &rtmpb.SetLockRequest{
			Store: a.store, User: a.user, Channel: a.channel, ChannelType: a.kind, LockName: a.lock, Ttl: a.ttl,
		}))
	case acquireLock:
		return lockAnswer(d.AcquireLock(ctx, &rtmpb.AcquireLockRequest{
			Store: a.store, User: a.user, Channel: a.channel, ChannelType: a.kind, LockName: a.lock, Retry: a.retry,
		}))
	case releaseLock:
		return lockAnswer(d.ReleaseLock(ctx, &rtmpb.ReleaseLockRequest{
			Store: a.store, User: a.user, Channel: a.channel, ChannelType: a.kind, LockName: a.lock,
		}))
	case revokeLock:
		return lockAnswer(d.RevokeLock(ctx, &rtmpb.RevokeLockRequest{
			Store: a.store, User: a.user, Channel: a.channel, ChannelType: a.kind, LockName: a.lock, Owner: a.owner,
		}))
	case getLock:
		return channelAnswer(d.GetLock(ctx, &rtmpb.GetLockRequest{
			Store: a.store, User: a.user, Channel: a.channel, ChannelType: a.kind,
		}))
	case removeLock:
		return lockAnswer(d.RemoveLock(ctx, &rtmpb.RemoveLockRequest{
			Store: a.store, User: a.user, Channel: a.channel, ChannelType: a.kind, LockName: a.lock,
		}))
	case keepAlive:
		got, err := d.KeepAlive(ctx, &rtmpb.KeepAliveRequest{Store: a.store, User: a.user, Held: lockDetails(a.held)})
		return answer{locks: locksOf(got.GetLocks()), expired: locksOf(got.GetExpired())}, err
	case logout:
		_, err := d.Logout(ctx, &rtmpb.LogoutRequest{Store: a.store, User: a.user, Release: a.release})
		return answer{}, err
	}
	panic("no call: " + operation)
}

func (d typed) open(ctx context.Context, operation string, a request) (stream, error) {
	var s grpc.ServerStreamingClient[rtmpb.LockEvent]
	var err error
	switch operation {
	case subscribe:
		s, err = d.Subscribe(ctx, &rtmpb.SubscribeRequest{Store: a.store, User: a.user, Channel: a.channel, ChannelType: a.kind})
	case session:
		s, err = d.Session(ctx, &rtmpb.SessionRequest{Store: a.store, User: a.user, Held: lockDetails(a.held)})
	default:
		panic("no stream: " + operation)
	}
	if err != nil {
		return nil, failureOf(err)
	}
	return typedStream{s}, nil
}

type typedStream struct {
	grpc.ServerStreamingClient[rtmpb.LockEvent]
}

func (s typedStream) next() (event, error) {
	e, err := s.Recv()
	if err != nil {
		return event{}, failureOf(err)
	}
	return event{e.GetEventType(), lockOf(e), locksOf(e.GetLocks())}, nil
}

func lockAnswer(m *rtmpb.LockResponse, err error) (answer, error) {
	if err == nil && m.GetErrorCode() != 0 {
		err = fmt.Errorf("error code of a successful answer must be 0, got %d", m.GetErrorCode())
	}
	return answer{lock: lock{m.GetChannel(), m.GetChannelType(), m.GetLockName(), "", m.GetTtl(), m.GetLockRev()}}, err
}

func channelAnswer(m *rtmpb.GetLockResponse, err error) (answer, error) {
	if err == nil && (m.GetErrorCode() != 0 || int(m.GetTotalLocks()) != len(m.GetLocks())) {
		err = fmt.Errorf("error code %d, %d locks in total, but %d", m.GetErrorCode(), m.GetTotalLocks(), len(m.GetLocks()))
	}
	return answer{lock: lock{channel: m.GetChannel(), kind: m.GetChannelType()}, locks: locksOf(m.GetLocks())}, err
}

// detail is a message that describes a lock.
type detail interface {
	GetChannel() string
	GetChannelType() rtmpb.ChannelType
	GetLockName() string
	GetOwner() string
	GetTtl() uint32
	GetLockRev() uint64
}

func lockOf(m detail) lock {
	return lock{m.GetChannel(), m.GetChannelType(), m.GetLockName(), m.GetOwner(), m.GetTtl(), m.GetLockRev()}
}

func locksOf(messages []*rtmpb.LockDetail) []lock {
	var locks []lock
	for _, m := range messages {
		locks = append(locks, lockOf(m))
	}
	return locks
}

func lockDetails(locks []lock) []*rtmpb.LockDetail {
	var messages []*rtmpb.LockDetail
	for _, l := range locks {
		messages = append(messages, &rtmpb.LockDetail{
			Channel: l.channel, ChannelType: l.kind, LockName: l.name, Owner: l.owner, Ttl: l.ttl, LockRev: l.rev,
		})
	}
	return messages
}

// failureOf returns the error for a gRPC status. Its details have to be a Status and an
// ErrorInfo with the name of the same code. A status without details is of gRPC itself.
func failureOf(err error) error {
	s, ok := status.FromError(err)
	switch {
	case !ok:
		return err
	case len(s.Details()) == 0 && s.Code() == codes.Canceled:
		return context.Canceled
	case len(s.Details()) == 0 && s.Code() == codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case len(s.Details()) == 0 && strings.HasSuffix(s.Message(), "contains invalid UTF-8"):
		return errInvalidUTF8
	case len(s.Details()) != 2:
		return fmt.Errorf("details %v: %w", s.Details(), err)
	}
	what, _ := s.Details()[0].(*rtmpb.Status)
	info, _ := s.Details()[1].(*errdetails.ErrorInfo)
	for _, row := range codeTable {
		matches := row.number == what.GetErrorCode() && row.name == info.GetReason()
		if matches && info.GetDomain() == "mortise" && codeMatches(s.Code(), row.grpc) {
			return &statusError{what.GetErrorCode(), what.GetOperation(), what.GetReason()}
		}
	}
	return fmt.Errorf("details %v are not in codeTable: %w", s.Details(), err)
}

// codeMatches reports whether a status has the expected code. The code of a canceled call
// is Canceled instead of DeadlineExceeded.
func codeMatches(got, want codes.Code) bool {
	return got == want || got == codes.Canceled && want == codes.DeadlineExceeded
}

var (
	errNoMethod    = errors.New("the service has no such method")
	errInvalidUTF8 = errors.New("gRPC does not send invalid UTF-8")
)

package rtm

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// api is a client of the service. Its errors are a *statusError or the error of ctx; any
// other error is a violation of the protocol.
type api interface {
	// call calls an operation with one answer.
	call(ctx context.Context, operation string, a request) (answer, error)
	// open opens a stream, which lasts until ctx ends.
	open(ctx context.Context, operation string, a request) (stream, error)
}

// stream is a stream of events.
type stream interface {
	// next waits for the next event. It returns the error that ended the stream, which is
	// io.EOF if the service ended it without an error.
	next() (event, error)
}

// The operations, by their names in RTM's documentation and in HTTP paths.
const (
	setLock     = "setLock"
	acquireLock = "acquireLock"
	releaseLock = "releaseLock"
	revokeLock  = "revokeLock"
	getLock     = "getLock"
	removeLock  = "removeLock"
	keepAlive   = "keepAlive"
	logout      = "logout"
	subscribe   = "subscribe"
	session     = "session"
)

// operationNames are the names of the operations in a Status. RTM defines the first six.
var operationNames = map[string]string{
	setLock:     "RTMSetLockOperation",
	acquireLock: "RTMAcquireOperation",
	releaseLock: "RTMReleaseLockOperation",
	revokeLock:  "RTMRevokeLockOperation",
	getLock:     "RTMGetLockOperation",
	removeLock:  "RTMRemoveLockOperation",
	keepAlive:   "RTMKeepAliveOperation",
	logout:      "RTMLogoutOperation",
	subscribe:   "RTMSubscribeOperation",
	session:     "RTMSessionOperation",
}

// codeTable lists the error codes of the service.
var codeTable = []struct {
	number int32
	name   string
	grpc   codes.Code
	http   int
}{
	{-10002, "NOT_LOGIN", codes.Unauthenticated, 401},
	{-10006, "INVALID_USER_ID", codes.InvalidArgument, 400},
	{-10008, "INVALID_CHANNEL_NAME", codes.InvalidArgument, 400},
	{-10014, "INVALID_PARAMETER", codes.InvalidArgument, 400},
	{-10019, "INVALID_CHANNEL_TYPE", codes.InvalidArgument, 400},
	{-10022, "SERVICE_NOT_SUPPORTED", codes.Unimplemented, 501},
	{-10027, "DUPLICATE_USER_ID", codes.Aborted, 409},
	{-14001, "LOCK_OPERATION_FAILED", codes.ResourceExhausted, 429},
	{-14002, "LOCK_OPERATION_TIMEOUT", codes.DeadlineExceeded, 504},
	{-14003, "LOCK_OPERATION_PERFORMING", codes.FailedPrecondition, 409},
	{-14004, "LOCK_ALREADY_EXIST", codes.AlreadyExists, 409},
	{-14005, "LOCK_INVALID_NAME", codes.InvalidArgument, 400},
	{-14006, "LOCK_NOT_ACQUIRED", codes.FailedPrecondition, 409},
	{-14007, "LOCK_ACQUIRE_FAILED", codes.Aborted, 409},
	{-14008, "LOCK_NOT_EXIST", codes.NotFound, 404},
	{-14009, "LOCK_NOT_AVAILABLE", codes.Unavailable, 503},
}

// channelType is the type of a channel.
type channelType = rtmpb.ChannelType

const (
	messageType = rtmpb.ChannelType_MESSAGE
	streamType  = rtmpb.ChannelType_STREAM
)

// request has the fields of all requests. An operation sends those that its message has.
type request struct {
	store, user, channel string
	kind                 channelType
	lock                 string
	ttl                  uint32 // seconds
	retry                bool
	owner                string
	held                 []lock
	release              bool
}

// lock is a lock in an answer or event. Fields that the message does not have are zero.
type lock struct {
	channel     string
	kind        channelType
	name, owner string
	ttl         uint32
	rev         uint64
}

// answer is the answer of a successful call.
type answer struct {
	lock           // of a call about one lock
	locks   []lock // of getLock and keepAlive
	expired []lock // of keepAlive
}

// event is an event of a stream.
type event struct {
	kind rtmpb.LockEvent_Type
	lock
	locks []lock // of a snapshot
}

// String returns the event's type and owner.
func (e event) String() string {
	if e.owner == "" {
		return e.kind.String()
	}
	return e.kind.String() + " " + e.owner
}

// statusError is a Status.
type statusError struct {
	code      int32
	operation string
	reason    string
}

func (f *statusError) Error() string {
	return fmt.Sprintf("%d of %s: %s", f.code, f.operation, f.reason)
}

package rtm

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// An API is the service as a client sees it. Its errors are a *failure, or what became of
// ctx; everything else is a breach of the protocol.
type api interface {
	// call makes a call that has one answer.
	call(ctx context.Context, operation string, a request) (answer, error)
	// open opens a stream, which lasts as long as ctx.
	open(ctx context.Context, operation string, a request) (stream, error)
}

// A stream tells events.
type stream interface {
	// next waits for the next event. What ended the stream is its error; io.EOF is an end
	// without a reason.
	next() (event, error)
}

// The operations, by their names in the document and in the paths of HTTP.
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

// statuses are how the operations are called in a Status. The document has the first six.
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

// codeTable are the error codes that occur.
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

// The types of channels.
type channelType = rtmpb.ChannelType

const (
	messageType = rtmpb.ChannelType_MESSAGE
	streamType  = rtmpb.ChannelType_STREAM
)

// ask is what a request says. An operation sends what it has of it.
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

// lock is a lock as it is told of. What a message does not say is zero.
type lock struct {
	channel     string
	kind        channelType
	name, owner string
	ttl         uint32
	rev         uint64
}

// answer is what a call was told that succeeded.
type answer struct {
	lock           // of a call about one lock
	locks   []lock // of getLock and keepAlive
	expired []lock // of keepAlive
}

// event is what a stream told.
type event struct {
	kind rtmpb.LockEvent_Type
	lock
	locks []lock // of a snapshot
}

// String tells what happened and to whom.
func (e event) String() string {
	if e.owner == "" {
		return e.kind.String()
	}
	return e.kind.String() + " " + e.owner
}

// failure is a Status.
type statusError struct {
	code      int32
	operation string
	reason    string
}

func (f *statusError) Error() string {
	return fmt.Sprintf("%d of %s: %s", f.code, f.operation, f.reason)
}

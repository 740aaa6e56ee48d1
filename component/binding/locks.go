package binding

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
)

// maxData is the maximum size of an answer or event in bytes. daprd accepts messages of 4
// MB.
const maxData = 4<<20 - 64<<10

// errTooLong reports a list that does not fit into one answer.
var errTooLong = fmt.Errorf("locks must be at most %d bytes, use a longer prefix", maxData)

// refusalReasons are the reasons of errors that are returned as answers.
var refusalReasons = map[string]bool{"NOT_HELD": true, "NOT_OWNER": true, "DEADLOCK": true}

// resultFields are the names of the boolean in the operations' answers. The other
// operations have "acquired".
var resultFields = map[string]string{"unlock": "unlocked", "revoke": "revoked"}

// lockOperations returns the unary methods of the Locks service, and list.
func (s *Service) lockOperations() map[string]operation {
	all := map[string]operation{"list": s.list}
	for _, method := range lockspb.Locks_ServiceDesc.Methods {
		name := strings.ToLower(method.MethodName[:1]) + method.MethodName[1:]
		all[name] = s.lockOperation(name, method)
	}
	return all
}

// lockOperation returns the operation that calls a method of the Locks service.
func (s *Service) lockOperation(name string, method grpc.MethodDesc) operation {
	success := "acquired"
	if own, ok := resultFields[name]; ok {
		success = own
	}
	return func(ctx context.Context, c call) ([]byte, error) {
		c.data.setDefault("store", c.store)
		response, err := method.Handler(s.locks, ctx, func(m any) error { return c.data.decodeInto(m.(proto.Message)) }, nil)
		if refused := status.Convert(err); refusalReasons[reasonOf(refused)] {
			return encode(map[string]any{success: false, "reason": reasonOf(refused), "message": refused.Message()})
		}
		if err != nil {
			return nil, err
		}
		answer := map[string]any{success: true}
		if m, ok := response.(*lockspb.LockResponse); ok {
			answer = grant(m)
		}
		return encode(answer)
	}
}

// grant is the answer to a request for a lock.
func grant(m *lockspb.LockResponse) map[string]any {
	if !m.GetAcquired() {
		return map[string]any{"acquired": false}
	}
	return map[string]any{"acquired": true, "token": m.GetToken(), "expiresIn": seconds(m.GetExpiresIn())}
}

// list answers with all locks with a prefix.
func (s *Service) list(ctx context.Context, c call) ([]byte, error) {
	c.data.setDefault("store", c.store)
	var m lockspb.ListRequest
	if err := c.data.decodeInto(&m); err != nil {
		return nil, err
	}
	rows := []row{}
	err := s.locks.List(&m, localStream[lockspb.ListResponse]{ctx: ctx, send: func(piece *lockspb.ListResponse) error {
		rows = append(rows, newRows(piece.GetLocks())...)
		return nil
	}})
	if err != nil {
		return nil, err
	}
	answer, err := encode(map[string]any{"locks": rows})
	if len(answer) > maxData {
		return nil, rpcstatus.StatusOr(errTooLong, codes.ResourceExhausted, "TOO_LONG")
	}
	return answer, err
}

// row is a lock in JSON.
type row struct {
	Key       string            `json:"key"`
	Owner     string            `json:"owner,omitempty"` // empty if it is free
	Token     uint64            `json:"token,omitempty"`
	TTL       string            `json:"ttl,omitempty"`
	Remaining string            `json:"remaining,omitempty"`
	Waiters   uint32            `json:"waiters,omitempty"`
	Metadata  map[string]string `json:"metadata,omitempty"`
	Declared  string            `json:"declared,omitempty"`
}

func newRow(m *lockspb.Lock) row {
	return row{
		Key:       m.GetKey(),
		Owner:     m.GetOwner(),
		Token:     m.GetToken(),
		TTL:       seconds(m.GetTtl()),
		Remaining: seconds(m.GetRemaining()),
		Waiters:   m.GetWaiters(),
		Metadata:  m.GetMetadata(),
		Declared:  seconds(m.GetDeclared()),
	}
}

// newRows returns the locks in JSON. It does not return nil, which would be encoded as
// null.
func newRows(locks []*lockspb.Lock) []row {
	rows := make([]row, len(locks))
	for i, l := range locks {
		rows[i] = newRow(l)
	}
	return rows
}

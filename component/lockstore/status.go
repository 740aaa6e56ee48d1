package lockstore

import (
	"errors"

	"google.golang.org/grpc/codes"

	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	"github.com/mortise-lock/mortise/stores"
)

// wireNames are the fields of the contract as they are called on this API's wire.
var fieldNames = map[string]string{"key": "resource_id", "owner": "lock_owner"}

// callStatus is the gRPC status of a call's error; nil stays nil.
func callStatus(err error) error {
	if bad, ok := errors.AsType[*stores.FieldError](err); ok {
		return rpcstatus.Field(fieldNames[bad.Field], bad.Problem)
	}
	return rpcstatus.Status(err)
}

// initStatus is callStatus for Init, where what is in no table is the fault of the
// metadata or of what it points to.
func initStatus(err error) error {
	return rpcstatus.StatusOr(err, codes.InvalidArgument, "INIT_FAILED")
}

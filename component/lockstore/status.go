package lockstore

import (
	"errors"

	"google.golang.org/grpc/codes"

	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
	"github.com/mortise-lock/mortise/stores"
)

// fieldNames are the contract's fields by their names in this API's messages.
var fieldNames = map[string]string{"key": "resource_id", "owner": "lock_owner"}

// callStatus returns the gRPC status of a call's error, nil for nil.
func callStatus(err error) error {
	if bad, ok := errors.AsType[*stores.FieldError](err); ok {
		return rpcstatus.Field(fieldNames[bad.Field], bad.Problem)
	}
	return rpcstatus.Status(err)
}

// initStatus is callStatus for Init, where an error without a code of its own is caused
// by the metadata or by what they point to.
func initStatus(err error) error {
	return rpcstatus.StatusOr(err, codes.InvalidArgument, "INIT_FAILED")
}

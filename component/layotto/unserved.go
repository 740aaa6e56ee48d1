package layotto

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	layottopb "github.com/mortise-lock/mortise/proto/spec/proto/runtime/v1"
)

// methodPrefix is the prefix of the full names of the methods of Layotto's services:
// those of its runtime (spec.proto.runtime.v1) and of its extensions
// (spec.proto.extension.v1).
const methodPrefix = "/spec.proto."

// Unserved returns the UNIMPLEMENTED status for a method of Layotto's API that the server
// does not have, given by its full name. It returns nil for methods of other APIs. A
// server with a handler for unknown methods calls Unserved there, because gRPC then does
// not return UNIMPLEMENTED itself.
func Unserved(fullMethod string) error {
	if !strings.HasPrefix(fullMethod, methodPrefix) {
		return nil
	}
	return status.Errorf(codes.Unimplemented, "%s is not implemented: of Layotto's API, only %s of %s are served",
		strings.TrimPrefix(fullMethod, "/"), strings.Join(served(), ", "), layottopb.Runtime_ServiceDesc.ServiceName)
}

// served returns the names of the lock calls, in the order of the .proto file.
func served() []string {
	var names []string
	for _, method := range layottopb.Runtime_ServiceDesc.Methods {
		names = append(names, method.MethodName)
	}
	return names
}

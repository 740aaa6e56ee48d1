package main

// The echo server: this program in another process, with grpc-go's defaults and empty
// methods.

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/emptypb"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
)

const (
	// echoVariable, if it is set to a socket, makes this program the echo server.
	echoVariable = "MORTISE_BENCH_ECHO"

	echoMethod = "/bench.Echo/Echo"
)

// echoProgram is the echo server.
var echoProgram = program{"bare gRPC server", func(_ *env, folder string) (*exec.Cmd, string, error) {
	socket := filepath.Join(folder, "echo.sock")
	self, err := os.Executable()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), echoVariable+"="+socket)
	return cmd, socket, err
}}

// serveEcho serves until the process ends.
func serveEcho(socket string) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Echo",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: echo}},
	}, nil)
	lockpb.RegisterLockStoreServer(server, canned{})
	healthpb.RegisterHealthServer(server, health.NewServer())
	return server.Serve(l)
}

// echo is the method that returns its empty argument.
func echo(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var message emptypb.Empty
	err := decode(&message)
	return &message, err
}

// canned is a lock store that always succeeds.
type canned struct {
	lockpb.UnimplementedLockStoreServer
}

// TryLock returns a grant.
func (canned) TryLock(context.Context, *lockpb.TryLockRequest) (*lockpb.TryLockResponse, error) {
	return &lockpb.TryLockResponse{
		Success:  true,
		Metadata: map[string]string{"fencingToken": "1777777777777777", "expiresInMs": "60000"},
	}, nil
}

// Unlock returns success.
func (canned) Unlock(context.Context, *lockpb.UnlockRequest) (*lockpb.UnlockResponse, error) {
	return &lockpb.UnlockResponse{}, nil
}

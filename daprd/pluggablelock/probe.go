//lint:file-ignore SA1019 Discovery uses v1alpha of reflection, and so must the probe.

package pluggablelock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	reflectpb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
)

const (
	// probePause is the pause between two attempts to use a socket.
	probePause = 100 * time.Millisecond

	// changePause is the pause between two attempts to use a socket that has been
	// skipped.
	changePause = time.Second
)

// maxSocketPath is the largest length, in bytes, of the path of a Unix socket.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// errNoAnswer reports a process that did not answer in time.
var errNoAnswer = errors.New("its process accepts connections and does not answer as a gRPC server")

// errPermanent matches the errors of sockets for which a retry cannot succeed.
var errPermanent = errors.New("a retry cannot succeed")

// permanent is an error that matches errPermanent and has the text of its cause.
type permanent struct{ error }

// Is reports whether the target is errPermanent.
func (permanent) Is(target error) bool { return target == errPermanent }

// Unwrap returns the cause.
func (p permanent) Unwrap() error { return p.error }

// awaitComponent probes a socket until a component answers, ctx ends or a retry cannot
// succeed. The error contains why the socket cannot be used, and the remedy.
func awaitComponent(ctx context.Context, socket string) error {
	var reason error
	for {
		switch err := probe(ctx, socket); {
		case err == nil || errors.Is(err, errPermanent):
			return err
		// The end of ctx may cancel the last probe.
		case reason == nil || !errors.Is(err, errNoAnswer):
			reason = err
		}
		select {
		case <-ctx.Done():
			return reason
		case <-time.After(probePause):
		}
	}
}

// awaitChange waits until a component answers at a socket that could not be used. It
// returns an error if ctx ends first.
func awaitChange(ctx context.Context, socket string) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(changePause):
		}
		if err := probe(ctx, socket); err == nil {
			return nil
		}
	}
}

// probe lists the services of the component at a socket, as discovery does.
func probe(ctx context.Context, socket string) error {
	if len(socket) > maxSocketPath {
		return permanent{fmt.Errorf("its path must be at most %d bytes, got %d: use a folder with a shorter path",
			maxSocketPath, len(socket))}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return dialError(socket, err)
	}
	defer conn.Close()
	return answerError(listServices(ctx, conn))
}

// dialError explains why a connection to a socket failed.
func dialError(socket string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("permission denied: daprd (uid %d, gid %d) must have write permission for the socket (%s); "+
			"start the component with another mode for its socket (mortise --socket-mode), or run daprd as the socket's user or group",
			os.Geteuid(), os.Getegid(), modeOf(socket))
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("connection refused: no process listens on it; start the component, or remove the file")
	case errors.Is(err, syscall.EPROTOTYPE):
		return permanent{errors.New("it is not a stream socket; remove the file")}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return errNoAnswer
	}
	if cause, ok := errors.AsType[*net.OpError](err); ok {
		err = cause.Err
	}
	return fmt.Errorf("cannot connect: %w", err)
}

// modeOf returns the mode and the owner of a file, as far as they can be read.
func modeOf(path string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return "mode unknown"
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Sprintf("mode %04o", info.Mode().Perm())
	}
	return fmt.Sprintf("mode %04o, uid %d, gid %d", info.Mode().Perm(), owner.Uid, owner.Gid)
}

// answerError explains why a process that accepts connections does not list its services.
func answerError(err error) error {
	switch status.Code(err) {
	case codes.OK:
		return nil
	case codes.Unimplemented:
		return permanent{errors.New("its process does not serve gRPC reflection (grpc.reflection.v1alpha.ServerReflection)")}
	case codes.DeadlineExceeded, codes.Canceled:
		return errNoAnswer
	}
	return fmt.Errorf("its process does not answer as a gRPC server: %s", status.Convert(err).Message())
}

// listServices requests the services of the gRPC server at the other end of conn.
func listServices(ctx context.Context, conn net.Conn) error {
	client, err := grpc.NewClient("passthrough:///"+conn.RemoteAddr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dialOnce(conn)))
	if err != nil {
		return err
	}
	defer client.Close()
	stream, err := reflectpb.NewServerReflectionClient(client).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	request := &reflectpb.ServerReflectionRequest{MessageRequest: &reflectpb.ServerReflectionRequest_ListServices{}}
	// Recv returns the error.
	if err := stream.Send(request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	answer, err := stream.Recv()
	if err == nil && answer.GetListServicesResponse() == nil {
		return status.Errorf(codes.Unknown, "reflection lists no services: %s", answer.GetErrorResponse().GetErrorMessage())
	}
	return err
}

// dialOnce returns a dialer that returns conn from the first call, and an error from all
// others.
func dialOnce(conn net.Conn) func(context.Context, string) (net.Conn, error) {
	conns := make(chan net.Conn, 1)
	conns <- conn
	return func(context.Context, string) (net.Conn, error) {
		select {
		case conn := <-conns:
			return conn, nil
		default:
			return nil, errors.New("connection is closed")
		}
	}
}

package rtm

import (
	"context"
	"io"
	"path"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// openDirect returns an API that calls the service's methods.
func openDirect(t testing.TB, service rtmpb.ChannelLocksServer) api {
	d := &direct{service: service}
	t.Cleanup(d.streams.Wait)
	return newTyped(d)
}

// isDirect reports whether an API calls the service's methods.
func isDirect(d api) bool {
	t, ok := d.(typed)
	if !ok {
		return false
	}
	_, ok = t.conn.(*direct)
	return ok
}

// direct is a connection that calls the methods of a service with copies of messages.
type direct struct {
	service rtmpb.ChannelLocksServer
	streams sync.WaitGroup // running streams
}

// Invoke calls the method.
func (d *direct) Invoke(ctx context.Context, method string, request, reply any, _ ...grpc.CallOption) error {
	for _, m := range rtmpb.ChannelLocks_ServiceDesc.Methods {
		if m.MethodName == path.Base(method) {
			got, err := m.Handler(d.service, incoming(ctx), copier(request), nil)
			if err != nil {
				return err
			}
			return copier(got)(reply)
		}
	}
	return errNoMethod
}

// NewStream returns a stream. SendMsg calls the method.
func (d *direct) NewStream(
	ctx context.Context, desc *grpc.StreamDesc, _ string, _ ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return &directClient{ctx: ctx, serve: func(s *directServer) {
		d.streams.Go(func() {
			s.ended <- desc.Handler(d.service, s)
		})
	}}, nil
}

// directClient is the client side of a stream.
type directClient struct {
	grpc.ClientStream
	ctx    context.Context
	serve  func(*directServer)
	server *directServer
}

func (c *directClient) SendMsg(request any) error {
	c.server = &directServer{ctx: incoming(c.ctx), request: request, sent: make(chan any), ended: make(chan error, 1)}
	c.serve(c.server)
	return nil
}

func (c *directClient) CloseSend() error { return nil }

func (c *directClient) RecvMsg(m any) error {
	select {
	case sent := <-c.server.sent:
		return copier(sent)(m)
	case err := <-c.server.ended:
		c.server.ended <- err
		if err == nil {
			return io.EOF
		}
		return err
	}
}

// directServer is the server side of a stream.
type directServer struct {
	grpc.ServerStream
	ctx     context.Context
	request any
	sent    chan any
	ended   chan error // has the error of the method, which may be nil
}

func (s *directServer) Context() context.Context { return s.ctx }

func (s *directServer) RecvMsg(m any) error { return copier(s.request)(m) }

func (s *directServer) SendMsg(m any) error {
	select {
	case s.sent <- proto.Clone(m.(proto.Message)):
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// copier returns a function that copies from to a message.
func copier(from any) func(to any) error {
	return func(to any) error {
		proto.Merge(to.(proto.Message), from.(proto.Message))
		return nil
	}
}

// incoming returns the server's context for the client's, with its metadata.
func incoming(ctx context.Context) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx)
	return metadata.NewIncomingContext(ctx, md)
}

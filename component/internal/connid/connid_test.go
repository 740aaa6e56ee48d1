package connid

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc/peer"
)

type (
	inner struct{ number int }
	outer struct{ number int }
)

// pipes is a listener that accepts in-memory connections without an address.
type pipes struct{ net.Listener }

func (pipes) Accept() (net.Conn, error) {
	server, _ := net.Pipe()
	return server, nil
}

func TestListener(t *testing.T) {
	var opened, closed int
	l := Listener[inner](pipes{}, func(net.Conn) *inner { opened++; return &inner{opened} }, func(v *inner) { closed += v.number })
	l = Listener[outer](l, func(net.Conn) *outer { return &outer{10} }, func(*outer) {})
	for number := 1; number <= 2; number++ {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: c.RemoteAddr()})
		if v := FromContext[inner](ctx); v == nil || v.number != number {
			t.Errorf("the value of the inner listener is %v, want %d", v, number)
		}
		if v := FromContext[outer](ctx); v == nil || v.number != 10 {
			t.Errorf("the value of the outer listener is %v, want 10", v)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if closed != 1+2 {
		t.Errorf("the numbers of the closed connections add up to %d, want 3", closed)
	}
}

func TestFromContext_WithoutAValue(t *testing.T) {
	for name, ctx := range map[string]context.Context{
		"no peer":          t.Context(),
		"no address":       peer.NewContext(t.Context(), &peer.Peer{}),
		"another listener": NewContext(t.Context(), &outer{}),
		"a plain address":  peer.NewContext(t.Context(), &peer.Peer{Addr: &net.UnixAddr{}}),
	} {
		t.Run(name, func(t *testing.T) {
			if v := FromContext[inner](ctx); v != nil {
				t.Errorf("got the value %v", v)
			}
		})
	}
	want := &inner{7}
	if v := FromContext[inner](NewContext(t.Context(), want)); v != want {
		t.Errorf("NewContext attaches %v, want %v", v, want)
	}
}

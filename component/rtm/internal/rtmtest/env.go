// Package rtmtest has fixtures for the tests of channel locks.
package rtmtest

import (
	"context"
	"net"
	"testing"
	"testing/synctest"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc/peer"

	"github.com/mortise-lock/mortise/component/instances"
	"github.com/mortise-lock/mortise/stores"
)

// Env is a set of components in a bubble, and a connection.
type Env struct {
	*testing.T
	Set  *instances.Set
	conn net.Conn // connection of calls; nil for a client that opens no components
}

// Run runs a test in a bubble without open components. It closes the stores afterwards.
// register adds stores and metadata to the registry.
func Run(t *testing.T, register func(*stores.Registry), test func(w *Env, log logger.Logger)) {
	synctest.Test(t, func(t *testing.T) {
		log := logger.NewLogger("test")
		log.SetOutputLevel(logger.WarnLevel)
		registry := stores.NewRegistry("memory")
		register(registry)
		set := instances.New(registry, log)
		test(&Env{t, set, nil}, log)
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Sidecar returns the same Env with another connection.
func (w *Env) Sidecar() *Env {
	w.Helper()
	inner, _ := net.Pipe()
	conn, err := w.Set.Listener(pipe{inner}).Accept()
	if err != nil {
		w.Fatal(err)
	}
	return &Env{w.T, w.Set, conn}
}

// CloseConn closes the connection.
func (w *Env) CloseConn() {
	w.Helper()
	if err := w.conn.Close(); err != nil {
		w.Fatal(err)
	}
}

// pipe is a listener that accepts one connection.
type pipe struct{ net.Conn }

func (p pipe) Accept() (net.Conn, error) { return p.Conn, nil }
func (p pipe) Addr() net.Addr            { return p.LocalAddr() }

// Context returns the context of calls on the connection.
func (w *Env) Context() context.Context {
	if w.conn == nil {
		return w.T.Context()
	}
	return peer.NewContext(w.T.Context(), &peer.Peer{Addr: w.conn.RemoteAddr()})
}

// Open opens the component locks on the connection, in the given storage.
func (w *Env) Open(storage string, metadata map[string]string) {
	w.Helper()
	all := map[string]string{"store": storage}
	for key, value := range metadata {
		all[key] = value
	}
	if err := w.Set.Open(w.Context(), "locks", all); err != nil {
		w.Fatal(err)
	}
}

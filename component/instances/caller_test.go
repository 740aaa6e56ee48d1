package instances

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/peer"

	"github.com/mortise-lock/mortise/component/internal/connid"
	"github.com/mortise-lock/mortise/stores"
)

// callFrom returns the context of a call of the caller.
func callFrom(t *testing.T, c *caller) context.Context {
	return connid.NewContext(t.Context(), c)
}

// openFrom opens component c with the value of metadata key a.
func openFrom(t *testing.T, s *Set, c *caller, a string) {
	t.Helper()
	if err := s.Open(callFrom(t, c), "c", map[string]string{"a": a}); err != nil {
		t.Fatal(err)
	}
}

// storeOf returns the caller's store of component c, or nil if the component is not
// initialized.
func storeOf(t *testing.T, s *Set, c *caller) *fakeStore {
	t.Helper()
	var store *fakeStore
	err := s.Do(callFrom(t, c), "c", func(s stores.Store) error { store = stores.Unwrap(s).(*fakeStore); return nil })
	if err != nil && !errors.Is(err, ErrNotInitialized) {
		t.Fatal(err)
	}
	return store
}

func TestSet_CallersStores(t *testing.T) {
	s, opened := newSet()
	sidecar, other, same := newCaller(), newCaller(), newCaller()
	openFrom(t, s, sidecar, "1")
	openFrom(t, s, other, "2")
	openFrom(t, s, same, "1")
	if got := storeOf(t, s, sidecar).metadata["a"]; got != "1" {
		t.Errorf("the first caller gets the store with a: %s", got)
	}
	if got := storeOf(t, s, other).metadata["a"]; got != "2" {
		t.Errorf("the second caller gets the store with a: %s", got)
	}
	if storeOf(t, s, same) != storeOf(t, s, sidecar) || opened.Load() != 2 {
		t.Errorf("callers with equal metadata have different stores, of %d", opened.Load())
	}
	_ = s.Close()
}

func TestSet_PreloadedStore(t *testing.T) {
	s, _ := newSet()
	sidecar, stranger := newCaller(), newCaller()
	openFrom(t, s, sidecar, "1")
	if storeOf(t, s, stranger) != nil {
		t.Error("a caller gets the store that another caller has opened")
	}
	open(t, s, "c", map[string]string{"a": "2"})
	if got := storeOf(t, s, stranger); got == nil || got.metadata["a"] != "2" {
		t.Errorf("a caller that has opened nothing gets %v", got)
	}
	if got := storeOf(t, s, sidecar).metadata["a"]; got != "1" {
		t.Errorf("the caller that has opened a store gets the one with a: %s", got)
	}
	_ = s.Close()
}

func TestSet_ClosesUnusedStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet()
		sidecar, other := newCaller(), newCaller()
		openFrom(t, s, sidecar, "1")
		openFrom(t, s, other, "1")
		store := storeOf(t, s, sidecar)
		s.disconnect(sidecar)
		synctest.Wait()
		if store.closed.Load() {
			t.Error("closed although another caller uses it")
		}
		openFrom(t, s, other, "2")
		synctest.Wait()
		if !store.closed.Load() {
			t.Error("open although no caller uses it")
		}
		openFrom(t, s, sidecar, "3") // an Init that outlasts its connection
		if storeOf(t, s, sidecar) != nil {
			t.Error("a disconnected caller has a store")
		}
		_ = s.Close()
		s.disconnect(other)
	})
}

func TestListener(t *testing.T) {
	s, _ := newSet()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := s.Listener(inner)
	defer l.Close()
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := s.callerOf(peer.NewContext(t.Context(), &peer.Peer{Addr: server.RemoteAddr()}))
	if c == s.preloaded || server.RemoteAddr().String() != client.LocalAddr().String() {
		t.Fatalf("the remote address is %v", server.RemoteAddr())
	}
	openFrom(t, s, c, "1")
	store := storeOf(t, s, c)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil || !store.closed.Load() {
		t.Errorf("after the end of the connection: %v, closed is %v", err, store.closed.Load())
	}
}

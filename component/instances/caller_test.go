package instances

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/peer"

	"github.com/mortise-lock/mortise/stores"
)

// from returns the context of a call by the caller.
func callFrom(t *testing.T, c *caller) context.Context {
	return peer.NewContext(t.Context(), &peer.Peer{Addr: c})
}

func openFrom(t *testing.T, s *Set, c *caller, a string) {
	t.Helper()
	if err := s.Open(callFrom(t, c), "c", map[string]string{"a": a}); err != nil {
		t.Fatal(err)
	}
}

// storeOf is what the caller gets, or nil if it has to open the component first.
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
	shop, office, branch := newCaller(nil), newCaller(nil), newCaller(nil)
	openFrom(t, s, shop, "1")
	openFrom(t, s, office, "2")
	openFrom(t, s, branch, "1")
	if got := storeOf(t, s, shop).metadata["a"]; got != "1" {
		t.Errorf("shop gets what has a: %s", got)
	}
	if got := storeOf(t, s, office).metadata["a"]; got != "2" {
		t.Errorf("office gets what has a: %s", got)
	}
	if storeOf(t, s, branch) != storeOf(t, s, shop) || opened.Load() != 2 {
		t.Errorf("equal metadata, and %d stores", opened.Load())
	}
	_ = s.Close()
}

func TestSet_PreloadedStore(t *testing.T) {
	s, _ := newSet()
	shop, stranger := newCaller(nil), newCaller(nil)
	openFrom(t, s, shop, "1")
	if storeOf(t, s, stranger) != nil {
		t.Error("a stranger gets what somebody else has opened")
	}
	open(t, s, "c", map[string]string{"a": "2"})
	if got := storeOf(t, s, stranger); got == nil || got.metadata["a"] != "2" {
		t.Errorf("a stranger gets %v", got)
	}
	if got := storeOf(t, s, shop).metadata["a"]; got != "1" {
		t.Errorf("the shop gets what has a: %s", got)
	}
	_ = s.Close()
}

func TestSet_ClosesUnusedStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet()
		shop, branch := newCaller(nil), newCaller(nil)
		openFrom(t, s, shop, "1")
		openFrom(t, s, branch, "1")
		store := storeOf(t, s, shop)
		s.disconnect(shop)
		synctest.Wait()
		if store.closed.Load() {
			t.Error("closed although one is left")
		}
		openFrom(t, s, branch, "2")
		synctest.Wait()
		if !store.closed.Load() {
			t.Error("open although nobody is left")
		}
		openFrom(t, s, shop, "3") // an Init that ends after its connection did
		if storeOf(t, s, shop) != nil {
			t.Error("a caller that is gone has a store")
		}
		_ = s.Close()
		s.disconnect(branch)
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
	c, ok := server.RemoteAddr().(*caller)
	if !ok || c.String() != client.LocalAddr().String() {
		t.Fatalf("the connection comes from %v", server.RemoteAddr())
	}
	openFrom(t, s, c, "1")
	store := storeOf(t, s, c)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil || !store.closed.Load() {
		t.Errorf("after the connection's end: %v, %v", err, store.closed.Load())
	}
}

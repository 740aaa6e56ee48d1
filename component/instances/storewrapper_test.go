package instances

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
)

// wrappedStore is a store that a wrapper has returned.
type wrappedStore struct {
	stores.Store
	by string
}

// callLog records the calls of wrappers and of Close, in order. Calls are not concurrent.
type callLog []string

// wrapper returns a StoreWrapper that logs its calls under the name.
func (l *callLog) wrapper(name string) StoreWrapper {
	return func(component string, s stores.Store) (stores.Store, func()) {
		*l = append(*l, name+" wraps "+component)
		return &wrappedStore{s, name}, func() { *l = append(*l, name+" releases "+component) }
	}
}

// closeRecorder logs the Close of a store.
type closeRecorder struct {
	*fakeStore
	log *callLog
}

func (c closeRecorder) Close() error {
	*c.log = append(*c.log, "closed")
	return nil
}

func TestStoreWrapper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log callLog
		inner := func(_ string, s stores.Store) (stores.Store, func()) {
			return closeRecorder{stores.Unwrap(s).(*fakeStore), &log}, func() { log = append(log, "innermost releases c") }
		}
		plain, _ := newSet()
		s := New(plain.registry, logger.NewLogger("test"), inner, log.wrapper("ann"), log.wrapper("bob"))
		open(t, s, "c", nil)
		finish, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- s.Do(t.Context(), "c", func(store stores.Store) error {
				outer := store.(*wrappedStore)
				if outer.by != "bob" || outer.Store.(*wrappedStore).by != "ann" {
					t.Errorf("the store is wrapped by %s first", outer.by)
				}
				<-finish
				return nil
			})
		}()
		synctest.Wait()
		open(t, s, "c", map[string]string{"a": "2"})
		synctest.Wait()
		if want := (callLog{"ann wraps c", "bob wraps c", "ann wraps c", "bob wraps c"}); !slices.Equal(log, want) {
			t.Errorf("while a call is in progress: %q", log)
		}
		log = nil
		close(finish)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if want := (callLog{"bob releases c", "ann releases c", "innermost releases c", "closed"}); !slices.Equal(log, want) {
			t.Errorf("after it: %q, want %q", log, want)
		}
		log = nil
		if err := s.Close(); err != nil || len(log) != 4 {
			t.Errorf("when the set is closed: %v, %q", err, log)
		}
	})
}

func TestStoreWrapper_OpenAfterClose(t *testing.T) {
	var log callLog
	plain, _ := newSet()
	s := New(plain.registry, logger.NewLogger("test"), log.wrapper("ann"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context(), "c", nil); err == nil {
		t.Error("opened after Close")
	}
	if want := (callLog{"ann wraps c", "ann releases c"}); !slices.Equal(log, want) {
		t.Errorf("%q, want %q", log, want)
	}
}

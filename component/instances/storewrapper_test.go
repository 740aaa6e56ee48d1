package instances

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
)

// wrapped is what an attendant makes of a store.
type wrappedStore struct {
	stores.Store
	by string
}

// diary is what attendants and stores do, in order. A bubble has but one of them at work
// at a time.
type callLog []string

// attendant returns an attendant that wraps stores, and tells what it does.
func (d *callLog) wrapper(name string) StoreWrapper {
	return func(component string, s stores.Store) (stores.Store, func()) {
		*d = append(*d, name+" comes to "+component)
		return &wrappedStore{s, name}, func() { *d = append(*d, name+" leaves "+component) }
	}
}

// closes lets the diary tell of the end of a store.
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
		var told callLog
		inner := func(_ string, s stores.Store) (stores.Store, func()) {
			return closeRecorder{stores.Unwrap(s).(*fakeStore), &told}, func() { told = append(told, "innermost leaves") }
		}
		plain, _ := newSet()
		s := New(plain.registry, logger.NewLogger("test"), inner, told.wrapper("ann"), told.wrapper("bob"))
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
		if want := (callLog{"ann comes to c", "bob comes to c", "ann comes to c", "bob comes to c"}); !slices.Equal(told, want) {
			t.Errorf("while a call is under way: %q", told)
		}
		told = nil
		close(finish)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if want := (callLog{"bob leaves c", "ann leaves c", "innermost leaves", "closed"}); !slices.Equal(told, want) {
			t.Errorf("after it: %q, want %q", told, want)
		}
		told = nil
		if err := s.Close(); err != nil || len(told) != 4 {
			t.Errorf("when the set is closed: %v, %q", err, told)
		}
	})
}

func TestStoreWrapper_OpenAfterClose(t *testing.T) {
	var told callLog
	plain, _ := newSet()
	s := New(plain.registry, logger.NewLogger("test"), told.wrapper("ann"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context(), "c", nil); err == nil {
		t.Error("opened after Close")
	}
	if want := (callLog{"ann comes to c", "ann leaves c"}); !slices.Equal(told, want) {
		t.Errorf("%q, want %q", told, want)
	}
}

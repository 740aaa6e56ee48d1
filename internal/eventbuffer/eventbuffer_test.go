package eventbuffer

import (
	"slices"
	"testing"
)

// take returns what a subscriber gets, and fails if it is not notified of that.
func take(t *testing.T, b *Buffer[int]) ([]int, bool) {
	t.Helper()
	select {
	case <-b.Ready():
	default:
		t.Error("the subscriber is not notified")
	}
	return b.Take()
}

func TestBuffer_Take(t *testing.T) {
	b := New[int](3)
	for _, e := range []int{1, 2, 3} {
		if !b.Add(e) {
			t.Errorf("the buffer overflows with event %d", e)
		}
	}
	if events, overflowed := take(t, b); overflowed || !slices.Equal(events, []int{1, 2, 3}) {
		t.Errorf("got %v, overflowed %v, want the events that fit", events, overflowed)
	}
	if events, overflowed := b.Take(); overflowed || len(events) != 0 {
		t.Errorf("got %v, overflowed %v from an empty buffer", events, overflowed)
	}
	select {
	case <-b.Ready():
		t.Error("the subscriber is notified although nothing was added")
	default:
	}
}

func TestBuffer_Overflow(t *testing.T) {
	for name, overflow := range map[string]func(*Buffer[int]){
		"by one event too many": func(b *Buffer[int]) { b.Add(1); b.Add(2); b.Add(3) },
		"by a lost event":       func(b *Buffer[int]) { b.Add(1); b.Drop(); b.Notify() },
	} {
		t.Run(name, func(t *testing.T) {
			b := New[int](2)
			overflow(b)
			if b.Add(4) {
				t.Error("an event was added after the overflow")
			}
			if !b.Overflowed() {
				t.Error("the buffer reports no overflow")
			}
			if events, overflowed := take(t, b); !overflowed || len(events) != 0 {
				t.Errorf("got %v, overflowed %v, want no events", events, overflowed)
			}
			b.Add(5)
			if events, overflowed := take(t, b); overflowed || !slices.Equal(events, []int{5}) {
				t.Errorf("got %v, overflowed %v after the overflow was taken", events, overflowed)
			}
		})
	}
}

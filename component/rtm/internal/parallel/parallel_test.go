package parallel

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestForEach(t *testing.T) {
	t.Run("calls the function for each element, 16 at the same time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			err := ForEach(make([]int, 2*maxCalls+1), func(int) error {
				time.Sleep(time.Second)
				return nil
			})
			if took := time.Since(start); took != 3*time.Second || err != nil {
				t.Errorf("ForEach took %v and returned %v, want 3s and nil", took, err)
			}
		})
	})
	t.Run("returns all errors", func(t *testing.T) {
		odd := errors.New("odd")
		err := ForEach([]int{1, 2, 3}, func(n int) error {
			if n%2 == 0 {
				return nil
			}
			return fmt.Errorf("%d: %w", n, odd)
		})
		if err == nil || err.Error() != "1: odd\n3: odd" || !errors.Is(err, odd) {
			t.Errorf("ForEach = %q", err)
		}
	})
}

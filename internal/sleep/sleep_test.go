package sleep

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if ok := For(t.Context(), time.Minute); !ok || time.Since(start) != time.Minute {
			t.Errorf("a pause of a minute returns %v after %v", ok, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if ok := For(ctx, time.Minute); ok || time.Since(start) != time.Second {
			t.Errorf("a pause whose context ends after a second returns %v after %v", ok, time.Since(start))
		}
	})
}

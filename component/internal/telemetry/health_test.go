package telemetry

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

var errDown = errors.New("storage is down")

// pingTimesOut is the Ping of a store whose storage does not answer.
func pingTimesOut(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// statusOf returns the status of a component in a server.
func statusOf(t *testing.T, s *health.Server, component string) string {
	t.Helper()
	resp, err := s.Check(t.Context(), &healthpb.HealthCheckRequest{Service: ComponentService + component})
	if err != nil {
		return err.Error()
	}
	return resp.GetStatus().String()
}

// getHealth returns the response to an HTTP request.
func getHealth(h http.Handler) (code int, body string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	return w.Code, w.Body.String()
}

// checkHealth checks the status of component c over gRPC and HTTP. No other component may
// be failing.
func checkHealth(t *testing.T, h *Health, s *health.Server, healthy bool) {
	t.Helper()
	wantStatus, wantCode, wantBody := "SERVING", http.StatusNoContent, ""
	if !healthy {
		wantStatus, wantCode, wantBody = "NOT_SERVING", http.StatusServiceUnavailable, `{"failing":["c"]}`+"\n"
	}
	if got := statusOf(t, s, "c"); got != wantStatus {
		t.Errorf("at %v: over gRPC %s, want %s", time.Now(), got, wantStatus)
	}
	if code, body := getHealth(h); code != wantCode || body != wantBody {
		t.Errorf("at %v: over HTTP %d, %q, want %d, %q", time.Now(), code, body, wantCode, wantBody)
	}
}

func TestHealth_StorageFailsAndRecovers(t *testing.T) {
	for _, row := range []struct {
		name  string
		ping  func(context.Context) error
		after time.Duration // how long until the failure is reported, at most
	}{
		{"storage is down", func(context.Context) error { return errDown }, pingInterval + pingRetryInterval},
		{"storage does not answer", pingTimesOut, pingInterval + pingRetryInterval + 2*pingTimeout},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, server := NewHealth(quiet), health.NewServer()
				h.AddServer(server)
				var failing atomic.Bool
				wrap(t, Telemetry{Health: h}, "c", &faultyStore{ping: func(ctx context.Context) error {
					if failing.Load() {
						return row.ping(ctx)
					}
					return nil
				}})
				checkHealth(t, h, server, true)
				time.Sleep(time.Second)
				synctest.Wait()
				failing.Store(true)
				time.Sleep(pingInterval - time.Second)
				synctest.Wait()
				checkHealth(t, h, server, true) // one failure is below the threshold
				time.Sleep(row.after - pingInterval)
				synctest.Wait()
				checkHealth(t, h, server, false)
				failing.Store(false)
				time.Sleep(pingRetryInterval + pingTimeout)
				synctest.Wait()
				checkHealth(t, h, server, true)
			})
		})
	}
}

func TestHealth_SingleFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, server := NewHealth(quiet), health.NewServer()
		h.AddServer(server)
		var pings atomic.Int64
		wrap(t, Telemetry{Health: h}, "c", &faultyStore{ping: func(context.Context) error {
			if pings.Add(1)%2 == 1 {
				return errDown
			}
			return nil
		}})
		for range 20 {
			time.Sleep(time.Second)
			synctest.Wait()
			checkHealth(t, h, server, true)
		}
		if got := pings.Load(); got < 6 {
			t.Errorf("%d pings in 20 s", got)
		}
	})
}

func TestHealth_FirstPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pinged atomic.Bool
		wrap(t, Telemetry{Health: NewHealth(quiet)}, "c", &faultyStore{ping: func(context.Context) error {
			pinged.Store(true)
			return nil
		}})
		synctest.Wait()
		if !pinged.Load() {
			t.Error("the store is not pinged")
		}
	})
}

func TestHealth_StoreWithoutPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, server := NewHealth(quiet), health.NewServer()
		h.AddServer(server)
		wrap(t, Telemetry{Health: h}, "c", minimalStore{})
		time.Sleep(time.Minute)
		checkHealth(t, h, server, true)
	})
}

func TestHealth_SeveralStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, server := NewHealth(quiet), health.NewServer()
		wrap(t, Telemetry{Health: h}, "c", openMemory(t))
		stop := h.startPinging("c", &faultyStore{ping: func(context.Context) error { return errDown }})
		wrap(t, Telemetry{Health: h}, "d", openMemory(t))
		time.Sleep(time.Minute)
		h.AddServer(server)
		checkHealth(t, h, server, false)
		if got := statusOf(t, server, "d"); got != "SERVING" {
			t.Errorf("the other component: %s", got)
		}
		stop()
		checkHealth(t, h, server, true)
	})
}

func TestHealth_ClosedComponent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, server := NewHealth(quiet), health.NewServer()
		h.AddServer(server)
		stop := h.startPinging("c", &faultyStore{ping: pingTimesOut})
		time.Sleep(time.Minute)
		checkHealth(t, h, server, false)
		stop()
		if got := statusOf(t, server, "c"); got != "SERVICE_UNKNOWN" {
			t.Errorf("over gRPC %s", got)
		}
		if code, body := getHealth(h); code != http.StatusNoContent {
			t.Errorf("over HTTP %d, %q", code, body)
		}
	})
}

func TestHealth_ShuttingDown(t *testing.T) {
	h := NewHealth(quiet)
	h.SetShuttingDown()
	if code, body := getHealth(h); code != http.StatusServiceUnavailable || body != `{"shuttingDown":true}`+"\n" {
		t.Errorf("%d, %q", code, body)
	}
}

// A Redis that is not reachable yet when Mortise starts.
package e2e

import (
	"fmt"
	"net/http"
	"testing"
)

func TestStart_AwaitsRedis(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	locks := redis("locks", server)
	locks.initTimeout = waitTimeout.String()
	server.Stop()
	m := &mortise{folder: socketsFolder(t), name: "mortise"}
	r := newResources(t, locks)
	m.process = start(t, "mortise", mortiseProgram.path, m.variables(), "--resources-path", r.path)
	server.Start()
	m.awaitLine("Ready on", m.socket())
	startSidecar(t, m, "app", r).user(t, "locks").acquires("report", "alice")
}

func TestStart_Degraded(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	server.Stop()
	r := newResources(t, redis("locks", server), memory("other"))
	metrics := "127.0.0.1:" + freePort(t)
	m := startMortise(t, "--resources-path", r.path, "--start-degraded", "--metrics-address", metrics)
	m.awaitLine("Retrying to open the component", "instance=locks", "connection refused")
	health := func(want int) func() error {
		return func() error {
			resp, err := httpClient.Get("http://" + metrics + "/healthz")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != want {
				return fmt.Errorf("health: got %s, want %d", resp.Status, want)
			}
			return nil
		}
	}
	if err := health(http.StatusServiceUnavailable)(); err != nil {
		t.Error(err)
	}
	app := startSidecar(t, m, "app", r) // daprd starts although Redis is unreachable
	app.user(t, "other").acquires("report", "alice")
	u := app.user(t, "locks")
	u.fails(request{"report", "alice", minute}, `component "locks" is not open yet`, "connection refused")

	server.Start()
	u.eventuallyTryLock(true, "report", "alice")
	eventually(t, "health", health(http.StatusNoContent))
}

// Dapr's SDKs as they are, with no sidecar.
package e2e

import (
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	dapr "github.com/dapr/go-sdk/client"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
)

func TestSDKsTakeLoseAndFreeLocksWithoutASidecar(t *testing.T) {
	t.Parallel()
	folder := installJavaScriptSDK(t)
	withAndWithoutToken(t, func(t *testing.T, token string) {
		d := startDev(t, token)
		sdks := d.sdks(t, folder)
		for name, sdk := range sdks {
			t.Run("through "+name, func(t *testing.T) {
				u := user{t: t, api: sdk, store: devStore}
				takeLoseAndFree(u)
				u.takes("shared", name)
				for _, other := range sdks {
					user{t: t, api: other, store: devStore}.isRefused("shared", "another")
				}
				u.frees("shared", name)
			})
		}
	})
}

// takeLoseAndFree has every outcome that Dapr's API for locks has.
func takeLoseAndFree(u user) {
	u.t.Helper()
	u.takes("invoice", "alice")
	u.isRefused("invoice", "bob")
	u.isRefused("invoice", "alice")
	u.gets(belongsToOthers, "invoice", "bob")
	u.gets(doesNotExist, "letter", "alice")
	u.frees("invoice", "alice")
	u.gets(doesNotExist, "invoice", "alice")

	u.takesFor(1, "invoice", "alice")
	u.soon(true, "invoice", "bob")
	u.gets(belongsToOthers, "invoice", "alice")
	u.frees("invoice", "bob")

	u.fails(request{"", "alice", minute}, "ResourceId is empty in lock store lockstore")
	u.fails(request{"invoice", "alice", 0}, "ExpiryInSeconds is not positive in lock store lockstore")
	u.store = "depot"
	u.fails(request{"invoice", "alice", minute}, "lock store depot not found")
}

func TestTheGoSDKNamesWhatHasBecomeOfAnUnlock(t *testing.T) {
	t.Parallel()
	sdk := startDev(t, "").goSDK(t, "")
	user{t: t, api: sdkAPI{sdk}, store: devStore}.takes("invoice", "alice")
	for _, row := range []struct {
		resource, owner string
		want            dapr.UnlockResponse
	}{
		{"letter", "alice", dapr.UnlockResponse{StatusCode: 1, Status: "LOCK_DOES_NOT_EXIST"}},
		{"invoice", "bob", dapr.UnlockResponse{StatusCode: 2, Status: "LOCK_BELONGS_TO_OTHERS"}},
		{"invoice", "alice", dapr.UnlockResponse{StatusCode: 0, Status: "SUCCESS"}},
	} {
		got, err := sdk.UnlockAlpha1(t.Context(), devStore, &dapr.UnlockRequest{ResourceID: row.resource, LockOwner: row.owner})
		if err != nil || *got != row.want {
			t.Errorf("%s unlocks %s: got %v, %v; want %v", row.owner, row.resource, got, err, row.want)
		}
	}
}

func TestWithoutTheTokenNothingIsGranted(t *testing.T) {
	t.Parallel()
	d := startDev(t, secret)
	ask := request{"invoice", "alice", minute}
	for _, token := range []string{"", "sword", secret[:len(secret)-1], strings.ToUpper(secret)} {
		_, err := sdkAPI{d.goSDK(t, token)}.tryLock(t.Context(), devStore, ask)
		if grpcstatus.Code(err) != codes.Unauthenticated {
			t.Errorf("with the token %q: %v", token, err)
		}
	}
	var refused *httpError
	if _, err := (httpAPI{"http://" + d.httpAddr}).tryLock(t.Context(), devStore, ask); !errors.As(err, &refused) ||
		refused.code != http.StatusUnauthorized {
		t.Errorf("over HTTP: %v", err)
	}
	user{t: t, api: sdkAPI{d.goSDK(t, secret)}, store: devStore}.takes(ask.resource, "bob")
}

// Before its first call, Python's SDK asks this until the answer is between 200 and 299,
// and gives up after a minute.
func TestPythonsSDKFindsThatItsSidecarIsReady(t *testing.T) {
	t.Parallel()
	withAndWithoutToken(t, func(t *testing.T, token string) {
		url := "http://" + startDev(t, token).httpAddr + "/v1.0/healthz/outbound"
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Accept-Encoding": {"identity"}, "User-Agent": {"dapr-sdk-python/1.17.0"}}
		req.Close = true
		for _, sent := range []string{"", token} { // the SDK sends what it has, and none is asked for
			if sent != "" {
				req.Header.Set("dapr-api-token", sent)
			}
			resp, err := httpClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if _ = resp.Body.Close(); resp.StatusCode != http.StatusNoContent {
				t.Errorf("%s", resp.Status)
			}
		}
	})
}

func TestTheCommandThatDevPrintsTakesALock(t *testing.T) {
	t.Parallel()
	needs(t, "curl", "curl")
	withAndWithoutToken(t, func(t *testing.T, token string) {
		d := startDev(t, token, "--dapr-http-listen-address", "127.0.0.1:"+freePort(t))
		d.says("curl ")
		curl := exec.CommandContext(t.Context(), "sh", "-c", d.line("curl "))
		curl.Env = append(curl.Environ(), d.variable())
		if out, err := curl.Output(); err != nil || string(out) != `{"success":true}` {
			t.Errorf("%s says %s, %v", d.line("curl "), out, err)
		}
	})
}

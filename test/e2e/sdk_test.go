// Dapr's unmodified SDKs, without a sidecar.
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

func TestSDK_Outcomes(t *testing.T) {
	t.Parallel()
	folder := installJavaScriptSDK(t)
	withAndWithoutToken(t, func(t *testing.T, token string) {
		d := startDev(t, token)
		sdks := d.sdks(t, folder)
		for name, sdk := range sdks {
			t.Run("through "+name, func(t *testing.T) {
				u := user{t: t, api: sdk, store: devStore}
				testOutcomes(u)
				u.acquires("shared", name)
				for _, other := range sdks {
					user{t: t, api: other, store: devStore}.isRefused("shared", "another")
				}
				u.unlocks("shared", name)
			})
		}
	})
}

// testOutcomes checks every outcome of Dapr's lock API.
func testOutcomes(u user) {
	u.t.Helper()
	u.acquires("invoice", "alice")
	u.isRefused("invoice", "bob")
	u.isRefused("invoice", "alice")
	u.unlockReturns(belongsToOthers, "invoice", "bob")
	u.unlockReturns(doesNotExist, "letter", "alice")
	u.unlocks("invoice", "alice")
	u.unlockReturns(doesNotExist, "invoice", "alice")

	u.acquiresFor(1, "invoice", "alice")
	u.eventuallyTryLock(true, "invoice", "bob")
	u.unlockReturns(belongsToOthers, "invoice", "alice")
	u.unlocks("invoice", "bob")

	u.fails(request{"", "alice", minute}, "ResourceId is empty in lock store lockstore")
	u.fails(request{"invoice", "alice", 0}, "ExpiryInSeconds is not positive in lock store lockstore")
	u.store = "depot"
	u.fails(request{"invoice", "alice", minute}, "lock store depot not found")
}

func TestSDK_GoUnlockStatus(t *testing.T) {
	t.Parallel()
	sdk := startDev(t, "").goSDK(t, "")
	user{t: t, api: sdkAPI{sdk}, store: devStore}.acquires("invoice", "alice")
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

func TestSDK_Token(t *testing.T) {
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
	user{t: t, api: sdkAPI{d.goSDK(t, secret)}, store: devStore}.acquires(ask.resource, "bob")
}

// Before its first call, Python's SDK repeats this request until the status is between
// 200 and 299, for at most a minute.
func TestSDK_PythonHealthCheck(t *testing.T) {
	t.Parallel()
	withAndWithoutToken(t, func(t *testing.T, token string) {
		url := "http://" + startDev(t, token).httpAddr + "/v1.0/healthz/outbound"
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Accept-Encoding": {"identity"}, "User-Agent": {"dapr-sdk-python/1.17.0"}}
		req.Close = true
		// The SDK sends its token, if it has one. None is required.
		for _, sent := range []string{"", token} {
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

func TestDev_PrintedCommand(t *testing.T) {
	t.Parallel()
	requireProgram(t, "curl", "curl")
	withAndWithoutToken(t, func(t *testing.T, token string) {
		d := startDev(t, token, "--dapr-http-listen-address", "127.0.0.1:"+freePort(t))
		d.awaitLine("curl ")
		curl := exec.CommandContext(t.Context(), "sh", "-c", d.line("curl "))
		curl.Env = append(curl.Environ(), d.variable())
		if out, err := curl.Output(); err != nil || string(out) != `{"success":true}` {
			t.Errorf("%s: got %s, %v", d.line("curl "), out, err)
		}
	})
}

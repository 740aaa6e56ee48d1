package e2e

import (
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"testing"

	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

func TestDaprAPI_NoStore(t *testing.T) {
	t.Parallel()
	compareAnswers(t, startDaprd(t, "app"), startAPI(t, "app"), []exchange{
		{name: "HTTP: a lock", call: lockPost("locks", aliceTryLock), want: "500 Internal Server Error"},
		{name: "HTTP: seconds come first", call: lockPost("locks", ""), want: notPositive},
		{name: "HTTP: then the store", call: lockPost("locks", `{"expiryInSeconds":1}`), want: "ERR_LOCK_STORE_NOT_CONFIGURED"},
		{name: "HTTP: to unlock", call: unlockPost("locks", aliceUnlock), want: "lock store is not configured"},
		{name: "HTTP: the health", call: get("/v1.0/healthz"), want: "204"},
		{name: "gRPC: a lock", call: tryLock("locks", "a", "a", 1), want: "FailedPrecondition: lock store is not configured"},
		{name: "gRPC: seconds come first", call: tryLock("locks", "", "", 0), want: notPositive},
		{name: "gRPC: to unlock", call: unlock("", "", ""), want: "FailedPrecondition"},
	})
}

func TestDaprAPI_Token(t *testing.T) {
	const token = "open sesame"
	t.Setenv("DAPR_API_TOKEN", token) // for daprd and for the SDK
	daprd := startDaprd(t, "app", builtin("locks", startRedis(t)))
	api := startAPI(t, "app", builtin("locks", startRedis(t)))
	const header, wrong = "dapr-api-token", "open barley"
	free, absent := unlockPost("locks", aliceUnlock).(httpCall), unlock("locks", "a", "a")
	compareAnswers(t, daprd, api, []exchange{
		{name: "HTTP: no token", call: free, want: "401 Unauthorized"},
		{name: "HTTP: the wrong token", call: free.with(header, wrong), want: "invalid api token"},
		{name: "HTTP: half the token", call: free.with(header, token[:4]), want: "401"},
		{name: "HTTP: an empty token", call: free.with(header, ""), want: "401"},
		{name: "HTTP: another header", call: free.with("Authorization", "Bearer "+token), want: "401"},
		{name: "HTTP: the token", call: free.with(header, token), want: `{"status":1}`},
		{name: "HTTP: the token first", call: free.with(header, token).with(header, wrong), want: `{"status":1}`},
		{name: "HTTP: the token second", call: free.with(header, wrong).with(header, token), want: "401"},
		{name: "HTTP: no token and no route", call: get("/favicon.ico"), want: "401"},
		{name: "HTTP: a token and no route", call: get("/favicon.ico").with(header, token), want: noRoute},
		{name: "HTTP: the metadata", call: get("/v1.0/metadata"), want: "401"},
		{name: "HTTP: the health", call: get("/v1.0/healthz"), want: "204"},
		{name: "HTTP: the health with the wrong token", call: get("/v1.0/healthz").with(header, wrong), want: "204"},
		{name: "HTTP: the health outbound", call: get("/v1.0/healthz/outbound"), want: "204"},
		{name: "HTTP: the health with a slash", call: get("/v1.0/healthz/"), want: "204"},
		{name: "HTTP: the health with a slash within", call: get("/v1.0//healthz"), want: "401"},
		{name: "HTTP: the health with slashes before", call: get("///v1.0/healthz"), want: "204"},
		{name: "HTTP: the health, escaped", call: get("/v1.0/health%7A"), want: noRoute},
		{name: "HTTP: POST to the health", call: post("/v1.0/healthz", ""), want: "401"},
		{name: "gRPC: no token", call: absent, want: "missing api token in request metadata"},
		{name: "gRPC: the wrong token", call: absent.with(header, wrong), want: "api token mismatch"},
		{name: "gRPC: an empty token", call: absent.with(header, ""), want: "Unauthenticated: Unauthorized"},
		{name: "gRPC: the token", call: absent.with(header, token), want: wantNotFound},
		{name: "gRPC: the token first", call: absent.with(header, token).with(header, wrong), want: wantNotFound},
		{name: "gRPC: the token second", call: absent.with(header, wrong).with(header, token), want: "Unauthenticated"},
		{name: "gRPC: a stream", call: grpcCall{method: "SubscribeTopicEventsAlpha1", message: &emptypb.Empty{}},
			want: "Unauthenticated"},
		{name: "gRPC: no method", call: grpcCall{method: "/a.B/C", message: &emptypb.Empty{}}, want: "Unauthenticated"},
		{name: "gRPC: a token and no method", call: grpcCall{method: "/a.B/C", message: &emptypb.Empty{}}.with(header, token),
			want: "Unknown"},
	})
}

// anyLength and anyCause match what depends on a store's error.
var (
	anyLength = regexp.MustCompile(`Content-Length: .*`)
	anyCause  = regexp.MustCompile(`(acquiring lock|release lock): .+`)
)

// ignoringCause is a call whose response is compared without the store's error.
type ignoringCause struct{ call }

func (c ignoringCause) send(t testing.TB, p daprAPI) string {
	t.Helper()
	return anyCause.ReplaceAllString(anyLength.ReplaceAllString(c.call.send(t, p), ""), "$1: ...")
}

func TestDaprAPI_RedisDown(t *testing.T) {
	t.Parallel()
	daprdRedis, apiRedis := startRedis(t), startRedis(t)
	daprd := startDaprd(t, "app", builtin("locks", daprdRedis))
	api := startAPI(t, "app", builtin("locks", apiRedis))
	daprdRedis.Stop()
	apiRedis.Stop()
	compareAnswers(t, daprd, api, []exchange{
		{name: "HTTP: a lock", call: ignoringCause{lockPost("locks", aliceTryLock)}, want: "ERR_TRY_LOCK"},
		{name: "gRPC: to unlock", call: ignoringCause{unlock("locks", "a", "a")}, want: "Internal: failed to release lock: ..."},
		{name: "HTTP: the health", call: get("/v1.0/healthz"), want: "204"},
	})
}

// The programs differ in their versions and features, which are not compared.
func TestDaprAPI_Metadata(t *testing.T) {
	t.Parallel()
	locks := builtin("locks", startRedis(t))
	daprd, api := startDaprd(t, "app", locks), startAPI(t, "app", locks)

	t.Run("over HTTP", func(t *testing.T) {
		want, got := metadataJSON(t, daprd), metadataJSON(t, api)
		if len(want) < 4 || !reflect.DeepEqual(got, want) {
			t.Errorf("metadata of daprd\n%v\nmetadata of the API\n%v", want, got)
		}
	})
	t.Run("over gRPC", func(t *testing.T) {
		want, got := metadataMessage(t, daprd), metadataMessage(t, api)
		if !proto.Equal(got, want) {
			t.Errorf("metadata of daprd\n%v\nmetadata of the API\n%v", want, got)
		}
	})
}

func metadataJSON(t *testing.T, p daprAPI) map[string]any {
	t.Helper()
	resp, err := httpClient.Get(p.base + "/v1.0/metadata")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var m map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v, of type %s", err, resp.Header.Get("Content-Type"))
	}
	if m["runtimeVersion"] == "" || m["extended"].(map[string]any)["daprRuntimeVersion"] != m["runtimeVersion"] {
		t.Errorf("no version in %v", m)
	}
	delete(m, "runtimeVersion")
	delete(m, "extended")
	delete(m, "enabledFeatures")
	return m
}

func metadataMessage(t *testing.T, p daprAPI) *runtimepb.GetMetadataResponse {
	t.Helper()
	m, err := runtimepb.NewDaprClient(p.conn).GetMetadata(t.Context(), &runtimepb.GetMetadataRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if m.GetRuntimeVersion() == "" || m.GetExtendedMetadata()["daprRuntimeVersion"] != m.GetRuntimeVersion() {
		t.Errorf("no version in %v", m)
	}
	m.RuntimeVersion, m.ExtendedMetadata, m.EnabledFeatures = "", nil, nil
	return m
}

// keyPrefixes are values of keyPrefix, and the resulting keys for the app Shop in the
// namespace Prod.
var keyPrefixes = []struct{ name, key, value, lock string }{
	{name: "default", lock: "lock||Shop||default"},
	{"appid", "keyPrefix", "appid", "lock||Shop||appid"},
	{"appid-in-capitals", "KEYPREFIX", "AppID", "lock||Shop||appid-in-capitals"},
	{"name", "keyPrefix", "name", "lock||name||name"},
	{"none", "keyprefix", "NONE", "lock||none"},
	{"text", "keyPrefix", "Tenant 7|", "lock||tenant 7|||text"},
	{"empty", "keyPrefix", "", "lock||||empty"},
	{"app", "keyPrefix", "{appID}", "lock||shop||app"},
	{"namespace", "keyPrefix", "{namespace}", "lock||prod.shop||namespace"},
	{"pod", "keyPrefix", "{podName}/{appID}", "lock||pod-7/shop||pod"},
}

func TestDaprAPI_KeyPrefix(t *testing.T) {
	t.Setenv("NAMESPACE", "Prod")
	t.Setenv("POD_NAME", "Pod-7")
	server := startRedis(t)
	var components []component
	want := map[string]string{}
	for _, row := range keyPrefixes {
		c := builtin(row.name, server)
		if row.key != "" {
			c = c.with(row.key, row.value)
		}
		components = append(components, c)
		want[row.lock] = "bob"
	}
	daprd := startDaprd(t, "Shop", components...)
	api := startAPI(t, "Shop", components...)
	for _, row := range keyPrefixes {
		t.Run(row.name, func(t *testing.T) {
			steps := []struct {
				at   daprAPI
				call call
				want string
			}{
				{daprd, tryLock(row.name, row.name, "alice", minute), wantGranted},
				{api, tryLock(row.name, row.name, "bob", minute), wantRefused},
				{api, unlock(row.name, row.name, "bob"), wantNotOwner},
				{api, unlock(row.name, row.name, "alice"), wantUnlocked},
				{api, tryLock(row.name, row.name, "bob", minute), wantGranted},
				{daprd, tryLock(row.name, row.name, "alice", minute), wantRefused},
				{daprd, unlock(row.name, row.name, "alice"), wantNotOwner},
			}
			for i, step := range steps {
				if got := step.call.send(t, step.at); !containsAll(got, []string{step.want}) {
					t.Fatalf("step %d: got %s, want %s", i+1, got, step.want)
				}
			}
		})
	}
	if got := locksIn(t, server); !maps.Equal(got, want) {
		t.Errorf("the locks are\n%q, want\n%q", got, want)
	}
}

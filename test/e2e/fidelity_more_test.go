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

func TestTheAPIAnswersAsDaprdDoesWithoutAStore(t *testing.T) {
	t.Parallel()
	answerAlike(t, startDaprd(t, "app"), startAPI(t, "app"), []exchange{
		{name: "HTTP: a lock", call: lockPost("locks", aliceTakes), says: "500 Internal Server Error"},
		{name: "HTTP: seconds come first", call: lockPost("locks", ""), says: notPositive},
		{name: "HTTP: then the store", call: lockPost("locks", `{"expiryInSeconds":1}`), says: "ERR_LOCK_STORE_NOT_CONFIGURED"},
		{name: "HTTP: to unlock", call: unlockPost("locks", aliceFrees), says: "lock store is not configured"},
		{name: "HTTP: the health", call: get("/v1.0/healthz"), says: "204"},
		{name: "gRPC: a lock", call: tryLock("locks", "a", "a", 1), says: "FailedPrecondition: lock store is not configured"},
		{name: "gRPC: seconds come first", call: tryLock("locks", "", "", 0), says: notPositive},
		{name: "gRPC: to unlock", call: unlock("", "", ""), says: "FailedPrecondition"},
	})
}

func TestTheAPIAsksForDaprsTokenAsDaprdDoes(t *testing.T) {
	const token = "open sesame"
	t.Setenv("DAPR_API_TOKEN", token) // for daprd and for the SDK
	daprd := startDaprd(t, "app", builtin("locks", startRedis(t)))
	api := startAPI(t, "app", builtin("locks", startRedis(t)))
	const header, wrong = "dapr-api-token", "open barley"
	free, absent := unlockPost("locks", aliceFrees).(httpCall), unlock("locks", "a", "a")
	answerAlike(t, daprd, api, []exchange{
		{name: "HTTP: no token", call: free, says: "401 Unauthorized"},
		{name: "HTTP: the wrong token", call: free.with(header, wrong), says: "invalid api token"},
		{name: "HTTP: half the token", call: free.with(header, token[:4]), says: "401"},
		{name: "HTTP: an empty token", call: free.with(header, ""), says: "401"},
		{name: "HTTP: another header", call: free.with("Authorization", "Bearer "+token), says: "401"},
		{name: "HTTP: the token", call: free.with(header, token), says: `{"status":1}`},
		{name: "HTTP: the token first", call: free.with(header, token).with(header, wrong), says: `{"status":1}`},
		{name: "HTTP: the token second", call: free.with(header, wrong).with(header, token), says: "401"},
		{name: "HTTP: no token and no route", call: get("/favicon.ico"), says: "401"},
		{name: "HTTP: a token and no route", call: get("/favicon.ico").with(header, token), says: noRoute},
		{name: "HTTP: the metadata", call: get("/v1.0/metadata"), says: "401"},
		{name: "HTTP: the health", call: get("/v1.0/healthz"), says: "204"},
		{name: "HTTP: the health with the wrong token", call: get("/v1.0/healthz").with(header, wrong), says: "204"},
		{name: "HTTP: the health outbound", call: get("/v1.0/healthz/outbound"), says: "204"},
		{name: "HTTP: the health with a slash", call: get("/v1.0/healthz/"), says: "204"},
		{name: "HTTP: the health with a slash within", call: get("/v1.0//healthz"), says: "401"},
		{name: "HTTP: the health with slashes before", call: get("///v1.0/healthz"), says: "204"},
		{name: "HTTP: the health, escaped", call: get("/v1.0/health%7A"), says: noRoute},
		{name: "HTTP: POST to the health", call: post("/v1.0/healthz", ""), says: "401"},
		{name: "gRPC: no token", call: absent, says: "missing api token in request metadata"},
		{name: "gRPC: the wrong token", call: absent.with(header, wrong), says: "api token mismatch"},
		{name: "gRPC: an empty token", call: absent.with(header, ""), says: "Unauthenticated: Unauthorized"},
		{name: "gRPC: the token", call: absent.with(header, token), says: saysAbsent},
		{name: "gRPC: the token first", call: absent.with(header, token).with(header, wrong), says: saysAbsent},
		{name: "gRPC: the token second", call: absent.with(header, wrong).with(header, token), says: "Unauthenticated"},
		{name: "gRPC: a stream", call: grpcCall{method: "SubscribeTopicEventsAlpha1", message: &emptypb.Empty{}},
			says: "Unauthenticated"},
		{name: "gRPC: no method", call: grpcCall{method: "/a.B/C", message: &emptypb.Empty{}}, says: "Unauthenticated"},
		{name: "gRPC: a token and no method", call: grpcCall{method: "/a.B/C", message: &emptypb.Empty{}}.with(header, token),
			says: "Unknown"},
	})
}

// anyLength and anyCause are what depends on the words of a store.
var (
	anyLength = regexp.MustCompile(`Content-Length: .*`)
	anyCause  = regexp.MustCompile(`(acquiring lock|release lock): .+`)
)

// carelessly is a call of whose answer the store's own words do not count.
type carelessly struct{ call }

func (c carelessly) send(t testing.TB, p place) string {
	t.Helper()
	return anyCause.ReplaceAllString(anyLength.ReplaceAllString(c.call.send(t, p), ""), "$1: ...")
}

func TestTheAPIAnswersAsDaprdDoesWhenRedisIsDown(t *testing.T) {
	t.Parallel()
	theirs, ours := startRedis(t), startRedis(t)
	daprd := startDaprd(t, "app", builtin("locks", theirs))
	api := startAPI(t, "app", builtin("locks", ours))
	theirs.Stop()
	ours.Stop()
	answerAlike(t, daprd, api, []exchange{
		{name: "HTTP: a lock", call: carelessly{lockPost("locks", aliceTakes)}, says: "ERR_TRY_LOCK"},
		{name: "gRPC: to unlock", call: carelessly{unlock("locks", "a", "a")}, says: "Internal: failed to release lock: ..."},
		{name: "HTTP: the health", call: get("/v1.0/healthz"), says: "204"},
	})
}

// Versions and features are those of a program, and each tells its own.
func TestTheAPITellsOfItselfWhatDaprdTells(t *testing.T) {
	t.Parallel()
	locks := builtin("locks", startRedis(t))
	daprd, api := startDaprd(t, "app", locks), startAPI(t, "app", locks)

	t.Run("over HTTP", func(t *testing.T) {
		want, got := metadataJSON(t, daprd), metadataJSON(t, api)
		if len(want) < 4 || !reflect.DeepEqual(got, want) {
			t.Errorf("daprd tells\n%v\nand the API tells\n%v", want, got)
		}
	})
	t.Run("over gRPC", func(t *testing.T) {
		want, got := metadataMessage(t, daprd), metadataMessage(t, api)
		if !proto.Equal(got, want) {
			t.Errorf("daprd tells\n%v\nand the API tells\n%v", want, got)
		}
	})
}

func metadataJSON(t *testing.T, p place) map[string]any {
	t.Helper()
	resp, err := httpClient.Get(p.base + "/v1.0/metadata")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var told map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&told); err != nil || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v, of type %s", err, resp.Header.Get("Content-Type"))
	}
	if told["runtimeVersion"] == "" || told["extended"].(map[string]any)["daprRuntimeVersion"] != told["runtimeVersion"] {
		t.Errorf("no version in %v", told)
	}
	delete(told, "runtimeVersion")
	delete(told, "extended")
	delete(told, "enabledFeatures")
	return told
}

func metadataMessage(t *testing.T, p place) *runtimepb.GetMetadataResponse {
	t.Helper()
	told, err := runtimepb.NewDaprClient(p.conn).GetMetadata(t.Context(), &runtimepb.GetMetadataRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if told.GetRuntimeVersion() == "" || told.GetExtendedMetadata()["daprRuntimeVersion"] != told.GetRuntimeVersion() {
		t.Errorf("no version in %v", told)
	}
	told.RuntimeVersion, told.ExtendedMetadata, told.EnabledFeatures = "", nil, nil
	return told
}

// keyPrefixes are components by how their keys begin, for the app Shop in the namespace
// Prod.
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

func TestTheAPIAndASidecarRespectEachOthersLocksWhateverTheKeyPrefix(t *testing.T) {
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
				at   place
				call call
				says string
			}{
				{daprd, tryLock(row.name, row.name, "alice", minute), saysGranted},
				{api, tryLock(row.name, row.name, "bob", minute), saysRefused},
				{api, unlock(row.name, row.name, "bob"), saysOthers},
				{api, unlock(row.name, row.name, "alice"), saysFreed},
				{api, tryLock(row.name, row.name, "bob", minute), saysGranted},
				{daprd, tryLock(row.name, row.name, "alice", minute), saysRefused},
				{daprd, unlock(row.name, row.name, "alice"), saysOthers},
			}
			for i, step := range steps {
				if got := step.call.send(t, step.at); !containsAll(got, []string{step.says}) {
					t.Fatalf("step %d: got %s, want %s", i+1, got, step.says)
				}
			}
		})
	}
	if got := locksIn(t, server); !maps.Equal(got, want) {
		t.Errorf("the locks are\n%q, want\n%q", got, want)
	}
}

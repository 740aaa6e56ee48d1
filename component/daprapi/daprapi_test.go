package daprapi

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

// singleStore is Stores with one store for every component.
type singleStore struct{ stores.Store }

// Do implements [Stores].
func (s singleStore) Do(_ context.Context, _ string, fn func(stores.Store) error) error {
	return fn(s.Store)
}

// failingStores is Stores without a store; Do returns err.
type failingStores struct{ err error }

// Do implements [Stores].
func (s failingStores) Do(context.Context, string, func(stores.Store) error) error { return s.err }

// newAPI returns an API with a component named locks.
func newAPI(t testing.TB, o Options) *API {
	t.Helper()
	o.Components = append(o.Components, Component{Name: "locks", Type: "lock.mortise", Version: "v1"})
	if o.Stores == nil {
		o.Stores = singleStore{openMemory(t)}
	}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func openMemory(t testing.TB) stores.Store {
	t.Helper()
	store, err := memory.NewProcess().Backend().Open(t.Context(), stores.Component{Name: "locks"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// request returns the response to an HTTP request.
func request(a *API, r *http.Request) (code int, body string) {
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func send(a *API, method, path, body string) (int, string) {
	return request(a, httptest.NewRequest(method, path, strings.NewReader(body)))
}

func TestNew_RejectsComponents(t *testing.T) {
	prefixed := func(value string) []Component {
		return []Component{{Name: "locks", Metadata: map[string]string{"KeyPrefix": value}}}
	}
	rows := []struct {
		name       string
		components []Component
		want       string
	}{
		{"a separator in the keyPrefix", prefixed("a||b"),
			`"locks": metadata key keyPrefix: input key/keyPrefix 'a||b' can't contain '||'`},
		{"a separator in a value that replaces a placeholder", prefixed("|{appID}"), "'||x' can't contain"},
		{"a pod whose name is unknown", prefixed("{podName}"), "{podName}, but POD_NAME is not set"},
		{"one name twice", []Component{{Name: "locks"}, {Name: "locks"}}, `"locks": two components have this name`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := New(Options{AppID: "|x", Components: row.components})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %s", err, row.want)
			}
		})
	}
}

func TestKeyPrefix(t *testing.T) {
	var o Options
	if got, err := o.keyPrefix(Component{Name: "locks"}); err != nil || got != "lock||" {
		t.Errorf("without an app the prefix is %q, %v; want lock||", got, err)
	}
	seen := map[string]bool{}
	for range 2 {
		got, err := o.keyPrefix(Component{Metadata: map[string]string{"keyPrefix": "{uuid}/{uuid}"}})
		if err != nil || len(got) != len("lock||")+2*36+len("/||") || seen[got] {
			t.Errorf("with UUIDs the prefix is %q, %v", got, err)
		}
		seen[got] = true
	}
}

func TestCalls_OversizedNames(t *testing.T) {
	a, long := newAPI(t, Options{AppID: "app"}), strings.Repeat("x", stores.MaxKeyLen)
	_, err := a.TryLockAlpha1(t.Context(), &runtimepb.TryLockRequest{
		StoreName: "locks", ResourceId: long, LockOwner: "a", ExpiryInSeconds: 1})
	if want := "failed to try acquiring lock: ResourceId with its prefix "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("a long resource: %v, want %s", err, want)
	}
	_, err = a.UnlockAlpha1(t.Context(), &runtimepb.UnlockRequest{StoreName: "locks", ResourceId: "a", LockOwner: long + "x"})
	if want := "failed to release lock: LockOwner "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("a long owner: %v, want %s", err, want)
	}
}

func TestHandler_StoreErrors(t *testing.T) {
	a := newAPI(t, Options{Stores: failingStores{errors.New(`component "locks": <gone>`)}})
	for path, want := range map[string]string{
		"/v1.0-alpha1/lock/locks": `{"errorCode":"ERR_TRY_LOCK",` +
			`"message":"failed to try acquiring lock: component \"locks\": \u003cgone\u003e"}`,
		"/v1.0-alpha1/unlock/locks": `{"errorCode":"ERR_UNLOCK",` +
			`"message":"failed to release lock: component \"locks\": \u003cgone\u003e"}`,
	} {
		code, body := send(a, "POST", path, `{"resourceId":"a","lockOwner":"a","expiryInSeconds":1}`)
		if code != http.StatusInternalServerError || body != want {
			t.Errorf("%s: got %d %s, want 500 %s", path, code, body, want)
		}
	}
}

// cancelingStore is a store whose caller cancels while the lock is granted.
type cancelingStore struct {
	stores.Store
	cancel context.CancelFunc
}

// TryLock implements [stores.Store].
func (s cancelingStore) TryLock(ctx context.Context, req stores.Request) (stores.Grant, error) {
	grant, err := s.Store.TryLock(ctx, req)
	s.cancel()
	return grant, err
}

func TestTryLock_CanceledCaller(t *testing.T) {
	store := openMemory(t)
	ctx, hangUp := context.WithCancel(t.Context())
	a := newAPI(t, Options{Stores: singleStore{cancelingStore{store, hangUp}}})
	_, err := a.TryLockAlpha1(ctx, &runtimepb.TryLockRequest{
		StoreName: "locks", ResourceId: "a", LockOwner: "a", ExpiryInSeconds: 60})
	if err == nil || ctx.Err() == nil {
		t.Errorf("the call ended with %v", err)
	}
	if held, err := stores.List(t.Context(), store, ""); err != nil || len(held) > 0 {
		t.Errorf("held are %v, %v; want none", held, err)
	}
}

func TestHealth_ShuttingDown(t *testing.T) {
	leaving := false
	a := newAPI(t, Options{AppID: "app", Leaving: func() bool { return leaving }})
	const healthz, outbound = "/v1.0/healthz", "/v1.0/healthz/outbound"
	for _, path := range []string{healthz, outbound} {
		if code, body := send(a, "GET", path, ""); code != http.StatusNoContent || body != "" {
			t.Errorf("%s: got %d %s, want 204", path, code, body)
		}
	}
	leaving = true
	for path, want := range map[string]string{
		healthz + "?appid=other": `{"errorCode":"ERR_HEALTH_NOT_READY","message":"dapr is not ready: [runtime]"}`,
		outbound:                 `{"errorCode":"ERR_OUTBOUND_HEALTH_NOT_READY","message":"dapr outbound is not ready"}`,
	} {
		if code, body := send(a, "GET", path, ""); code != http.StatusInternalServerError || body != want {
			t.Errorf("%s: got %d %s, want 500 %s", path, code, body, want)
		}
	}
}

func TestHandler_UnreadableBody(t *testing.T) {
	a := newAPI(t, Options{})
	broken := httptest.NewRequest("POST", "/v1.0-alpha1/unlock/locks", iotest.ErrReader(errors.New("reset")))
	want := `{"errorCode":"ERR_BODY_READ","message":"failed to read request body: reset"}`
	if code, body := request(a, broken); code != 400 || body != want {
		t.Errorf("a body that breaks off: got %d %s, want 400 %s", code, body, want)
	}
	if code, body := send(a, "POST", "/v1.0-alpha1/unlock/locks", strings.Repeat(" ", maxBody+1)); code != 400 ||
		!strings.Contains(body, "stream too large") {
		t.Errorf("a body with a byte too much: got %d %s", code, body)
	}
}

func TestHandler_OtherAPIs(t *testing.T) {
	a := newAPI(t, Options{})
	rows := []struct {
		method, path string
		code         int
	}{
		{"GET", "/v1.0/state/store/key", 501},
		{"POST", "/v1.0/publish/pubsub/topic", 501},
		{"POST", "/v1.0-alpha1/publish/bulk/pubsub/topic", 501},
		{"POST", "/v1.0/invoke/app/method/do", 501},
		{"POST", "/v1.0-alpha1/jobs/job", 501},
		{"POST", "/v1.0-beta1/workflows/dapr/flow/start", 501},
		{"POST", "/v1.0-alpha2/conversation/model/converse", 501},
		{"PUT", "/v1.0/metadata/key", 501},
		{"POST", "/v1.0/shutdown", 501},
		{"GET", "/v1.0/shutdowns", 404},
		{"GET", "/v1.0/states/store", 404},
		{"GET", "/v2.0/state/store/key", 404},
		{"GET", "/x/v1.0/state/store/key", 404},
	}
	for _, row := range rows {
		want := map[int]string{501: "ERR_API_UNIMPLEMENTED", 404: "ERR_DIRECT_INVOKE"}[row.code]
		if code, body := send(a, row.method, row.path, "x"); code != row.code || !strings.Contains(body, want) {
			t.Errorf("%s %s: got %d %s, want %d %s", row.method, row.path, code, body, row.code, want)
		}
	}
}

func TestHandler_ServiceInvocation(t *testing.T) {
	a := newAPI(t, Options{})
	byHeader := httptest.NewRequest("GET", "/orders", nil)
	byHeader.Header.Set("dapr-app-id", "shop")
	byUser := httptest.NewRequest("GET", "/orders", nil)
	byUser.SetBasicAuth("Dapr-App-ID", "shop")
	byOtherUser := httptest.NewRequest("GET", "/orders", nil)
	byOtherUser.SetBasicAuth("alice", "shop")
	for r, want := range map[*http.Request]int{byHeader: 501, byUser: 501, byOtherUser: 404} {
		if code, body := request(a, r); code != want {
			t.Errorf("%v: got %d %s, want %d", r.Header, code, body, want)
		}
	}
}

func TestRespond_PlainError(t *testing.T) {
	w := httptest.NewRecorder()
	respond(w, nil, errors.New("odd"))
	if w.Code != 500 || w.Body.String() != `{"errorCode":"ERROR","message":"odd"}` {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

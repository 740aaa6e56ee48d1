package component

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
	layottopb "github.com/mortise-lock/mortise/proto/spec/proto/runtime/v1"
	"github.com/mortise-lock/mortise/stores/all"
	"github.com/mortise-lock/mortise/test/servers"
)

// house is a process that serves memory, as the component "locks", on every API, and its
// metrics.
type fixture struct {
	*testing.T
	*process
	tcp         TCPOptions
	socket      *grpc.ClientConn
	dapr        *grpc.ClientConn
	withHeaders func(context.Context) context.Context // makes a ctx that of all calls over gRPC
}

func newFixture(t *testing.T, change func(*Options)) *fixture {
	t.Helper()
	o := Dev()
	o.Folder, o.Components[0].Name = t.TempDir(), "locks"
	o.TCP.HTTPAddress, o.TCP.Dapr.HTTPAddress, o.TCP.Dapr.GRPCAddress = freePort(t), freePort(t), freePort(t)
	o.TCP.MetricsAddress, o.Version = freePort(t), "v1.2.3"
	change(&o)
	r, err := startRun(t, o, all.Backends("memory"))
	if err != nil {
		t.Fatal(err)
	}
	same := func(ctx context.Context) context.Context { return ctx }
	return &fixture{t, r, o.TCP, r.connect(t), dial(t, o.TCP.Dapr.GRPCAddress, insecure.NewCredentials()), same}
}

// at is the ctx of a call for the component, over gRPC.
func (h *fixture) at(component string) context.Context { return h.withHeaders(at(h.T, component)) }

// must is what is answered to calls that do not fail.
func must[A any](h *fixture, answer A, err error) A {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
	return answer
}

// post sends JSON, and expects an answer with the status 200.
func (h *fixture) post(url, body string) {
	h.Helper()
	r, err := http.NewRequestWithContext(h.Context(), http.MethodPost, "http://"+url, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport(h.T)}).Do(r)
	if err != nil {
		h.Fatal(err)
	}
	if got := read(h.T, response); got.code != http.StatusOK {
		h.Errorf("%s: %d, %s", url, got.code, got.body)
	}
}

// useLockStore, and what follows, takes a lock for one, which is refused to another, and
// gives it back, all through one API.
func (h *fixture) useLockStore() {
	locks, ctx := lockpb.NewLockStoreClient(h.socket), h.at("locks")
	must(h, 0, initialize(h.T, locks, "locks", nil))
	for _, owner := range []string{"ann", "bob"} {
		m, err := locks.TryLock(ctx, &lockpb.TryLockRequest{ResourceId: "lockstore", LockOwner: owner, ExpiryInSeconds: 60})
		must(h, m, err)
	}
	m, err := locks.Unlock(ctx, &lockpb.UnlockRequest{ResourceId: "lockstore", LockOwner: "ann"})
	must(h, m, err)
}

func (h *fixture) useLocks() {
	locks, ctx := lockspb.NewLocksClient(h.socket), h.at("locks")
	for _, owner := range []string{"ann", "bob"} {
		m, err := locks.TryLock(ctx, &lockspb.TryLockRequest{Key: "locks", Owner: owner, Ttl: hour})
		must(h, m, err)
	}
	m, err := locks.Unlock(ctx, &lockspb.UnlockRequest{Key: "locks", Owner: "ann"})
	must(h, m, err)
}

func (h *fixture) useBinding() {
	output, ctx := daprpb.NewOutputBindingClient(h.socket), h.at("binding")
	_, err := output.Init(ctx, &daprpb.OutputBindingInitRequest{
		Metadata: &daprpb.MetadataRequest{Properties: map[string]string{"lockStore": "locks"}},
	})
	must(h, 0, err)
	for _, call := range []struct{ operation, data string }{
		{"tryLock", `{"key": "binding", "owner": "ann", "ttl": 60}`},
		{"tryLock", `{"key": "binding", "owner": "bob", "ttl": 60}`},
		{"unlock", `{"key": "binding", "owner": "ann"}`},
	} {
		m, err := output.Invoke(ctx, &daprpb.InvokeRequest{Operation: call.operation, Data: []byte(call.data)})
		must(h, m, err)
	}
}

func (h *fixture) useDapr() {
	app := runtimepb.NewDaprClient(h.dapr)
	for _, owner := range []string{"ann", "bob"} {
		m, err := app.TryLockAlpha1(h.withHeaders(h.Context()), &runtimepb.TryLockRequest{
			StoreName: "locks", ResourceId: "dapr", LockOwner: owner, ExpiryInSeconds: 60,
		})
		must(h, m, err)
	}
	h.post(h.tcp.Dapr.HTTPAddress+"/v1.0-alpha1/unlock/locks", `{"resourceId": "dapr", "lockOwner": "ann"}`)
}

func (h *fixture) useLayotto() {
	app, ctx := layottopb.NewRuntimeClient(h.dapr), h.withHeaders(h.Context())
	for _, owner := range []string{"ann", "bob"} {
		m, err := app.TryLock(ctx, &layottopb.TryLockRequest{StoreName: "locks", ResourceId: "layotto", LockOwner: owner, Expire: 60})
		must(h, m, err)
	}
	m, err := app.Unlock(ctx, &layottopb.UnlockRequest{StoreName: "locks", ResourceId: "layotto", LockOwner: "ann"})
	must(h, m, err)
}

// useRTM sets the lock, too, without which it does not exist.
func (h *fixture) useRTM() {
	channels, ctx := rtmpb.NewChannelLocksClient(h.socket), h.withHeaders(h.Context())
	set, err := channels.SetLock(ctx, &rtmpb.SetLockRequest{
		Store: "locks", User: "ann", Channel: "lobby", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "rtm",
	})
	must(h, set, err)
	h.post(h.tcp.HTTPAddress+"/v1/rtm/locks/acquireLock?user=ann", `{"channel": "lobby", "channelType": 1, "lockName": "rtm"}`)
	_, err = channels.AcquireLock(ctx, &rtmpb.AcquireLockRequest{
		Store: "locks", User: "bob", Channel: "lobby", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "rtm",
	})
	if err == nil {
		h.Error("bob has ann's lock")
	}
	h.post(h.tcp.HTTPAddress+"/v1/rtm/locks/releaseLock?user=ann", `{"channel": "lobby", "channelType": 1, "lockName": "rtm"}`)
}

// useAll uses every API, and returns the APIs.
func (h *fixture) useAll() []string {
	uses := map[string]func(){
		"lockstore": h.useLockStore, "locks": h.useLocks, "binding": h.useBinding, "dapr": h.useDapr, "layotto": h.useLayotto,
		"rtm": h.useRTM,
	}
	var apis []string
	for api, use := range uses {
		use()
		apis = append(apis, api)
	}
	return apis
}

// scrape gets what is at the path of the metrics' address.
func (h *fixture) scrape(path, token string) httpResponse {
	h.Helper()
	s := httpTestClient{client: &http.Client{Transport: transport(h.T)}}
	r, err := http.NewRequestWithContext(h.Context(), http.MethodGet, "http://"+h.tcp.MetricsAddress+path, nil)
	if err != nil {
		h.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return s.do(h.T, r)
}

// metrics are the lines of the metrics that begin with one of the prefixes.
func (h *fixture) metrics(prefixes ...string) (lines []string) {
	h.Helper()
	for line := range strings.Lines(h.scrape("/metrics", "").body) {
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(line, prefix) }) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestMetrics_CallsOfEveryAPI(t *testing.T) {
	h := newFixture(t, func(*Options) {})
	want := []string{
		`mortise_build_info{version="v1.2.3"} 1`,
		`mortise_calls_total{api="rtm",component="locks",operation="declare",outcome="ok",store="memory"} 1`,
	}
	for _, api := range h.useAll() {
		for _, done := range []string{
			`operation="try_lock",outcome="granted"`, `operation="try_lock",outcome="refused"`, `operation="unlock",outcome="ok"`,
		} {
			want = append(want, fmt.Sprintf(`mortise_calls_total{api=%q,component="locks",%s,store="memory"} 1`, api, done))
		}
	}
	slices.Sort(want)
	if got := h.metrics("mortise_calls_total", "mortise_build_info"); !slices.Equal(got, want) {
		t.Errorf("metrics are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := h.metrics("mortise_lock"); len(got) != 0 {
		t.Errorf("without --lock-event-metrics there are %q", got)
	}
	if err := h.end(t); err != nil {
		t.Error(err)
	}
}

func TestTokenAuth_Metrics(t *testing.T) {
	h := newFixture(t, func(o *Options) { o.TCP.Token = "secret" })
	for _, row := range []struct {
		path, token string
		want        int
	}{
		{"/metrics", "", http.StatusUnauthorized},
		{"/metrics", "other", http.StatusUnauthorized},
		{"/metrics", "secret", http.StatusOK},
		{"/healthz", "", http.StatusNoContent},
		{"/", "secret", http.StatusNotFound},
	} {
		if got := h.scrape(row.path, row.token); got.code != row.want {
			t.Errorf("%s with %q: %d, %s", row.path, row.token, got.code, got.body)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+h.tcp.MetricsAddress+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := (httpTestClient{client: &http.Client{Transport: transport(t)}}).do(t, r); got.code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", got.code)
	}
}

func TestTCPOptions_MetricsAddress(t *testing.T) {
	c := servers.NewCertificate(t)
	for _, row := range []struct {
		name    string
		options TCPOptions
		want    string
	}{
		{"plain", TCPOptions{MetricsAddress: ":0"}, "--metrics-address :0 can be reached from other machines, without TLS"},
		{"with TLS alone", TCPOptions{MetricsAddress: ":0", CertFile: c.File, KeyFile: c.KeyFile}, "with neither a token"},
		{"allowed", TCPOptions{MetricsAddress: ":0", AllowInsecure: true}, ""},
		{"on this machine", TCPOptions{MetricsAddress: "127.0.0.1:0"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) { checkTCPOptions(t, row.options, row.want) })
	}
}

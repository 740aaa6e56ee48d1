package component

import (
	"context"
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
)

// fixture is a process that serves component locks, with the memory store, through every
// API, and metrics.
type fixture struct {
	*testing.T
	*process
	tcp         TCPOptions
	socket      *grpc.ClientConn
	dapr        *grpc.ClientConn
	withHeaders func(context.Context) context.Context // adds headers to gRPC calls
}

// newFixture starts a process with options that change may change.
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

// at returns the ctx of a gRPC call for the component.
func (h *fixture) at(component string) context.Context { return h.withHeaders(at(h.T, component)) }

// must returns the response of a call that must not fail.
func must[R any](h *fixture, resp R, err error) R {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
	return resp
}

// post sends JSON and checks that the status is 200.
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

// useLockStore and the methods that follow take a lock for ann, fail to take it for bob,
// and unlock it, all through one API.
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

// useRTM also sets the lock, because RTM has no other locks.
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
		h.Error("bob acquires ann's lock")
	}
	h.post(h.tcp.HTTPAddress+"/v1/rtm/locks/releaseLock?user=ann", `{"channel": "lobby", "channelType": 1, "lockName": "rtm"}`)
}

// useAll uses every API and returns their names.
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

// scrape gets the path at the metrics address.
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

// metrics returns the metrics that begin with one of the prefixes, line by line.
func (h *fixture) metrics(prefixes ...string) (lines []string) {
	h.Helper()
	for line := range strings.Lines(h.scrape("/metrics", "").body) {
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(line, prefix) }) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

package component

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"syscall"
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

// newFixture starts a process with options that change may change. It retries if another
// program takes a port that was free, and then calls change again.
func newFixture(t *testing.T, change func(*Options)) *fixture {
	t.Helper()
	for attempt := 1; ; attempt++ {
		o := Dev()
		o.Folder, o.Components[0].Name = t.TempDir(), "locks"
		o.TCP.HTTPAddress, o.TCP.Dapr.HTTPAddress, o.TCP.Dapr.GRPCAddress = freePort(t), freePort(t), freePort(t)
		o.TCP.MetricsAddress, o.Version = freePort(t), "v1.2.3"
		change(&o)
		r, err := startRun(t, o, all.Backends("memory"))
		if err == nil {
			same := func(ctx context.Context) context.Context { return ctx }
			return &fixture{t, r, o.TCP, r.connect(t), dial(t, o.TCP.Dapr.GRPCAddress, insecure.NewCredentials()), same}
		}
		if attempt == 5 || !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// at returns the ctx of a gRPC call for the component.
func (f *fixture) at(component string) context.Context { return f.withHeaders(at(f.T, component)) }

// must returns the response of a call that must not fail.
func must[R any](f *fixture, resp R, err error) R {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
	return resp
}

// post sends JSON and checks that the status is 200.
func (f *fixture) post(url, body string) {
	f.Helper()
	r, err := http.NewRequestWithContext(f.Context(), http.MethodPost, "http://"+url, strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport(f.T)}).Do(r)
	if err != nil {
		f.Fatal(err)
	}
	if got := read(f.T, response); got.code != http.StatusOK {
		f.Errorf("%s: %d, %s", url, got.code, got.body)
	}
}

// useLockStore and the methods that follow take a lock for ann, fail to take it for bob,
// and unlock it, all through one API.
func (f *fixture) useLockStore() {
	locks, ctx := lockpb.NewLockStoreClient(f.socket), f.at("locks")
	must(f, 0, initialize(f.T, locks, "locks", nil))
	for _, owner := range []string{"ann", "bob"} {
		m, err := locks.TryLock(ctx, &lockpb.TryLockRequest{ResourceId: "lockstore", LockOwner: owner, ExpiryInSeconds: 60})
		must(f, m, err)
	}
	m, err := locks.Unlock(ctx, &lockpb.UnlockRequest{ResourceId: "lockstore", LockOwner: "ann"})
	must(f, m, err)
}

func (f *fixture) useLocks() {
	locks, ctx := lockspb.NewLocksClient(f.socket), f.at("locks")
	for _, owner := range []string{"ann", "bob"} {
		m, err := locks.TryLock(ctx, &lockspb.TryLockRequest{Key: "locks", Owner: owner, Ttl: hour})
		must(f, m, err)
	}
	m, err := locks.Unlock(ctx, &lockspb.UnlockRequest{Key: "locks", Owner: "ann"})
	must(f, m, err)
}

func (f *fixture) useBinding() {
	output, ctx := daprpb.NewOutputBindingClient(f.socket), f.at("binding")
	_, err := output.Init(ctx, &daprpb.OutputBindingInitRequest{
		Metadata: &daprpb.MetadataRequest{Properties: map[string]string{"lockStore": "locks"}},
	})
	must(f, 0, err)
	for _, call := range []struct{ operation, data string }{
		{"tryLock", `{"key": "binding", "owner": "ann", "ttl": 60}`},
		{"tryLock", `{"key": "binding", "owner": "bob", "ttl": 60}`},
		{"unlock", `{"key": "binding", "owner": "ann"}`},
	} {
		m, err := output.Invoke(ctx, &daprpb.InvokeRequest{Operation: call.operation, Data: []byte(call.data)})
		must(f, m, err)
	}
}

func (f *fixture) useDapr() {
	app := runtimepb.NewDaprClient(f.dapr)
	for _, owner := range []string{"ann", "bob"} {
		m, err := app.TryLockAlpha1(f.withHeaders(f.Context()), &runtimepb.TryLockRequest{
			StoreName: "locks", ResourceId: "dapr", LockOwner: owner, ExpiryInSeconds: 60,
		})
		must(f, m, err)
	}
	f.post(f.tcp.Dapr.HTTPAddress+"/v1.0-alpha1/unlock/locks", `{"resourceId": "dapr", "lockOwner": "ann"}`)
}

func (f *fixture) useLayotto() {
	app, ctx := layottopb.NewRuntimeClient(f.dapr), f.withHeaders(f.Context())
	for _, owner := range []string{"ann", "bob"} {
		m, err := app.TryLock(ctx, &layottopb.TryLockRequest{StoreName: "locks", ResourceId: "layotto", LockOwner: owner, Expire: 60})
		must(f, m, err)
	}
	m, err := app.Unlock(ctx, &layottopb.UnlockRequest{StoreName: "locks", ResourceId: "layotto", LockOwner: "ann"})
	must(f, m, err)
}

// useRTM also sets the lock, because RTM has no other locks.
func (f *fixture) useRTM() {
	channels, ctx := rtmpb.NewChannelLocksClient(f.socket), f.withHeaders(f.Context())
	set, err := channels.SetLock(ctx, &rtmpb.SetLockRequest{
		Store: "locks", User: "ann", Channel: "lobby", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "rtm",
	})
	must(f, set, err)
	f.post(f.tcp.HTTPAddress+"/v1/rtm/locks/acquireLock?user=ann", `{"channel": "lobby", "channelType": 1, "lockName": "rtm"}`)
	_, err = channels.AcquireLock(ctx, &rtmpb.AcquireLockRequest{
		Store: "locks", User: "bob", Channel: "lobby", ChannelType: rtmpb.ChannelType_MESSAGE, LockName: "rtm",
	})
	if err == nil {
		f.Error("bob acquires ann's lock")
	}
	f.post(f.tcp.HTTPAddress+"/v1/rtm/locks/releaseLock?user=ann", `{"channel": "lobby", "channelType": 1, "lockName": "rtm"}`)
}

// useAll uses every API and returns their names.
func (f *fixture) useAll() []string {
	uses := map[string]func(){
		"lockstore": f.useLockStore, "locks": f.useLocks, "binding": f.useBinding, "dapr": f.useDapr, "layotto": f.useLayotto,
		"rtm": f.useRTM,
	}
	var apis []string
	for api, use := range uses {
		use()
		apis = append(apis, api)
	}
	return apis
}

// scrape gets the path at the metrics address.
func (f *fixture) scrape(path, token string) httpResponse {
	f.Helper()
	s := httpTestClient{client: &http.Client{Transport: transport(f.T)}}
	r, err := http.NewRequestWithContext(f.Context(), http.MethodGet, "http://"+f.tcp.MetricsAddress+path, nil)
	if err != nil {
		f.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return s.do(f.T, r)
}

// metrics returns the metrics that begin with one of the prefixes, line by line.
func (f *fixture) metrics(prefixes ...string) (lines []string) {
	f.Helper()
	for line := range strings.Lines(f.scrape("/metrics", "").body) {
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(line, prefix) }) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// A Mortise with TCP endpoints, and clients of them.
package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	daprpb "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/test/servers"
)

// The tokens of Mortise's own endpoints, and of those of Dapr's API.
const (
	ourToken  = "ours-5d1e0c"
	daprToken = "daprs-77ab21"
)

// endpointSpec describes an endpoint that Mortise can have: its flag, how its clients
// authenticate, and a small request.
type endpointSpec struct {
	flag          string
	header, value string // the header with the token
	method        string // of HTTP; empty for gRPC
	path          string
	body          string // for HTTP

	// request returns, for gRPC, a request that contains fill, and an empty response.
	request func(fill string) (m, answer proto.Message)

	stream        string        // the path of a stream; may be empty
	streamRequest proto.Message // for gRPC
}

// endpointSpecs are all endpoints.
var endpointSpecs = []endpointSpec{
	{flag: "--listen-address", header: "authorization", value: "Bearer " + ourToken,
		path: lockspb.Locks_TryLock_FullMethodName,
		request: func(fill string) (m, answer proto.Message) {
			return &lockspb.TryLockRequest{Key: "k" + fill, Owner: "o", Ttl: durationpb.New(time.Second)}, &lockspb.LockResponse{}
		},
		stream: lockspb.Locks_Watch_FullMethodName, streamRequest: &lockspb.WatchRequest{Store: "locks"}},
	{flag: "--dapr-grpc-listen-address", header: "dapr-api-token", value: daprToken,
		path: daprpb.Dapr_UnlockAlpha1_FullMethodName,
		request: func(fill string) (m, answer proto.Message) {
			return &daprpb.UnlockRequest{StoreName: "locks", ResourceId: "k" + fill, LockOwner: "o"}, &daprpb.UnlockResponse{}
		}},
	{flag: "--http-listen-address", header: "authorization", value: "Bearer " + ourToken,
		method: http.MethodPost, path: "/v1/rtm/locks/getLock", body: `{"user":"u","channel":"c","channelType":1}`,
		stream: "/v1/rtm/locks/subscribe?user=u&channel=c&channelType=1"},
	{flag: "--metrics-address", header: "authorization", value: "Bearer " + ourToken, method: http.MethodGet, path: "/metrics"},
	{flag: "--dapr-http-listen-address", header: "dapr-api-token", value: daprToken,
		method: http.MethodPost, path: "/v1.0-alpha1/unlock/locks", body: `{"resourceId":"k","lockOwner":"o"}`},
}

func (e endpointSpec) isGRPC() bool { return e.method == "" }

// exposed is a Mortise with all endpoints on the loopback interface.
type exposed struct {
	*process
	socket    string
	endpoints []endpoint
}

// endpoint is an endpoint of a running Mortise.
type endpoint struct {
	endpointSpec
	addr     string
	maxConns int         // the largest number of connections, from the log
	tls      *tls.Config // of an authorized client; nil without TLS
}

// security is the TLS configuration of the endpoints.
type security struct {
	name string
	args []string
	tls  *tls.Config // of an authorized client
}

// securities returns all configurations, with the certificate.
func securities(c servers.Certificate) (withoutTLS, withTLS, withClientCA security) {
	withTLS = security{"with TLS", []string{"--tls-cert-file", c.File, "--tls-key-file", c.KeyFile}, c.ClientConfig()}
	withClientCA = security{"with a client CA", append([]string{"--tls-client-ca-file", c.File}, withTLS.args...), withTLS.tls}
	withTLS.tls = withTLS.tls.Clone()
	withTLS.tls.Certificates = nil
	return security{name: "without TLS"}, withTLS, withClientCA
}

// tokens are the environment variables with the tokens.
var tokens = []string{"MORTISE_API_TOKEN=" + ourToken, "DAPR_API_TOKEN=" + daprToken}

// listening matches the log line of an endpoint.
var listening = regexp.MustCompile(`Listening on (\S+) for (--\S+), at most (\d+) connections`)

// startExposed starts Mortise with all endpoints and a component named locks, and waits
// until it serves.
func startExposed(t testing.TB, s security) *exposed {
	t.Helper()
	folder := socketsFolder(t)
	args := append([]string{"--resources-path", newResources(t, memory("locks")).path, "--app-id", "app"}, s.args...)
	for _, e := range endpointSpecs {
		args = append(args, e.flag, "127.0.0.1:0")
	}
	x := &exposed{
		process: start(t, "mortise "+s.name, mortiseProgram.path, append(inFolder(folder), tokens...), args...),
		socket:  folder + "/mortise.sock",
	}
	x.awaitLine("Ready on")
	logged := map[string][]string{}
	for _, match := range listening.FindAllStringSubmatch(x.output.String(), -1) {
		logged[match[2]] = match
	}
	for _, e := range endpointSpecs {
		if logged[e.flag] == nil {
			t.Fatalf("%s must be in the log", e.flag)
		}
		most, _ := strconv.Atoi(logged[e.flag][3]) // the pattern matches digits only
		x.endpoints = append(x.endpoints, endpoint{e, logged[e.flag][1], most, s.tls})
	}
	return x
}

// caller is a client of an endpoint.
type caller struct {
	header http.Header
	tls    *tls.Config // nil without TLS
	fill   string      // added to the request
}

// authorized returns an authorized caller.
func (e endpoint) authorized() caller {
	return caller{header: http.Header{e.header: {e.value}}, tls: e.tls}
}

// outcome is the result of a call.
type outcome string

const (
	answered        outcome = "answered"
	unauthenticated outcome = "unauthenticated"
	tooLarge        outcome = "too large"
	disconnected    outcome = "disconnected"
)

// do makes the small request on a new connection.
func (e endpoint) do(ctx context.Context, c caller) outcome {
	if e.isGRPC() {
		return e.doGRPC(ctx, c)
	}
	return e.doHTTP(ctx, c)
}

func (e endpoint) doGRPC(ctx context.Context, c caller) outcome {
	creds := insecure.NewCredentials()
	if c.tls != nil {
		creds = credentials.NewTLS(c.tls)
	}
	conn, err := grpc.NewClient(e.addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		return outcome(err.Error())
	}
	defer conn.Close()
	for name, values := range c.header {
		ctx = metadata.AppendToOutgoingContext(ctx, name, values[0])
	}
	m, answer := e.request(c.fill)
	switch err := conn.Invoke(ctx, e.path, m, answer); grpcstatus.Code(err) {
	case codes.OK:
		return answered
	case codes.Unauthenticated:
		return unauthenticated
	case codes.ResourceExhausted:
		return tooLarge
	case codes.Unavailable:
		return disconnected
	default:
		return outcome(err.Error())
	}
}

func (e endpoint) doHTTP(ctx context.Context, c caller) outcome {
	code, body, err := e.call(ctx, c)
	switch {
	case ctx.Err() != nil:
		return outcome(ctx.Err().Error())
	case err != nil, bytes.HasPrefix(body, []byte("Client sent an HTTP request to an HTTPS server.")):
		return disconnected
	case code == http.StatusUnauthorized:
		return unauthenticated
	case code == http.StatusRequestEntityTooLarge, bytes.Contains(body, []byte("stream too large")):
		return tooLarge
	case code != http.StatusOK:
		return outcome(fmt.Sprintf("answered %d %s", code, body))
	}
	return answered
}

// call makes a call over HTTP.
func (e endpoint) call(ctx context.Context, c caller) (code int, body []byte, err error) {
	scheme := "http"
	if c.tls != nil {
		scheme = "https"
	}
	r, err := http.NewRequestWithContext(ctx, e.method, scheme+"://"+e.addr+e.path, strings.NewReader(e.body+c.fill))
	if err != nil {
		return 0, nil, err
	}
	for name, values := range c.header {
		r.Header.Set(name, values[0])
	}
	transport := &http.Transport{TLSClientConfig: c.tls, DisableKeepAlives: true}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// expect returns an error unless a call has this outcome.
func (e endpoint) expect(ctx context.Context, c caller, want outcome) error {
	if got := e.do(ctx, c); got != want {
		return fmt.Errorf("%s: got %q, want %q", e.flag, got, want)
	}
	return nil
}

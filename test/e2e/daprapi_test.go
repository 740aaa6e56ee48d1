// The same requests to a sidecar with Dapr's lock.redis and to the API for apps without a
// sidecar, whose responses must be equal.
package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/mortise-lock/mortise/test/servers"
)

// daprAPI is the addresses of a server of Dapr's API.
type daprAPI struct {
	base string // the base URL of HTTP
	conn *grpc.ClientConn
}

func newDaprAPI(t testing.TB, httpAddr, grpcAddr string) daprAPI {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return daprAPI{"http://" + httpAddr, conn}
}

// startDaprd starts a sidecar with the components, and no Mortise.
func startDaprd(t testing.TB, app string, components ...component) daprAPI {
	t.Helper()
	s := startSidecarIn(t, socketsFolder(t), app, newResources(t, components...))
	return newDaprAPI(t, s.httpAddr, s.grpcAddr)
}

// startAPI starts Mortise with the components of type lock.redis, and returns the
// addresses at which it serves Dapr's API for the app.
func startAPI(t testing.TB, app string, components ...component) daprAPI {
	t.Helper()
	m := startMortiseNamed(t, "redis", "--default-store", "redis", "--resources-path", newResources(t, components...).path,
		"--app-id", app, "--dapr-grpc-listen-address", "127.0.0.1:0", "--dapr-http-listen-address", "127.0.0.1:0")
	m.awaitLine("Ready on")
	listening := m.after("Listening on ")
	if len(listening) != 2 {
		t.Fatalf("got the listeners %q, want 2", listening)
	}
	return newDaprAPI(t, listening[1], listening[0])
}

// call is a request, over HTTP or gRPC.
type call interface {
	// send returns the whole response as text, without what differs in every response.
	send(t testing.TB, p daprAPI) string
}

// exchange is a request that is sent to both servers, and a part of daprd's response.
type exchange struct {
	name  string
	call  call
	want  string
	after time.Duration // the time between the previous row and this one
}

// compareAnswers sends every request to both servers, in order, and reports every
// difference.
func compareAnswers(t *testing.T, daprd, api daprAPI, rows []exchange) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			time.Sleep(row.after) // until a lock has expired on a real server
			want, got := row.call.send(t, daprd), row.call.send(t, api)
			if !strings.Contains(want, row.want) {
				t.Errorf("response of daprd must contain %s, got\n%s", row.want, want)
			}
			if got != want {
				t.Errorf("response of daprd\n%s\nresponse of the API\n%s", want, got)
			}
		})
	}
}

// httpCall is a request over HTTP.
type httpCall struct {
	method, path string
	body         string
	chunked      bool     // sent without Content-Length
	header       []string // names and values
}

func get(path string) httpCall           { return httpCall{method: http.MethodGet, path: path} }
func lockPost(store, body string) call   { return post("/v1.0-alpha1/lock/"+store, body) }
func unlockPost(store, body string) call { return post("/v1.0-alpha1/unlock/"+store, body) }
func post(path, body string) httpCall {
	return httpCall{method: http.MethodPost, path: path, body: body}
}

// with returns the call with one more header.
func (c httpCall) with(name, value string) httpCall {
	c.header = append(slices.Clone(c.header), name, value)
	return c
}

func (c httpCall) send(t testing.TB, p daprAPI) string {
	t.Helper()
	var body io.Reader = strings.NewReader(c.body)
	if c.chunked {
		body = io.MultiReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), c.method, p.base+c.path, body)
	if err != nil {
		t.Fatal(err)
	}
	for pair := range slices.Chunk(c.header, 2) {
		req.Header.Add(pair[0], pair[1])
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	plain := normalizeSpaces(string(text))
	if resp.ContentLength == int64(len(text)) {
		resp.Header.Set("Content-Length", fmt.Sprint(len(plain)))
	}
	return fmt.Sprintf("%s\n%s\n%s", resp.Status, headers(resp.Header), plain)
}

// grpcCall is a request over gRPC.
type grpcCall struct {
	method  string // a name in Dapr's service, or a whole path
	message proto.Message
	header  []string // names and values
}

// with returns the call with one more header.
func (c grpcCall) with(name, value string) grpcCall {
	c.header = append(slices.Clone(c.header), name, value)
	return c
}

// raw returns a message that is encoded as these bytes, which may be invalid.
func raw(bytes ...byte) proto.Message {
	m := new(emptypb.Empty)
	m.ProtoReflect().SetUnknown(bytes)
	return m
}

func (c grpcCall) send(t testing.TB, p daprAPI) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	path, answer, header := c.method, new(emptypb.Empty), metadata.MD{}
	if !strings.HasPrefix(path, "/") {
		path = "/dapr.proto.runtime.v1.Dapr/" + path
	}
	err := p.conn.Invoke(metadata.AppendToOutgoingContext(ctx, c.header...), path, c.message, answer, grpc.Header(&header))
	s := grpcstatus.Convert(err)
	// Errors have this header only together with headers of traces.
	delete(header, "content-type")
	return fmt.Sprintf("%v: %s\nanswer [%x]\ndetails %v\n%s", s.Code(), normalizeSpaces(s.Message()),
		answer.ProtoReflect().GetUnknown(), s.Details(), headers(header))
}

// headers returns the headers in order, except for the date and those of traces.
func headers(all map[string][]string) string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch strings.ToLower(name) {
		case "date", "traceparent", "tracestate", "grpc-trace-bin":
		default:
			lines = append(lines, fmt.Sprintf("%s: %q", name, all[name]))
		}
	}
	return strings.Join(lines, "\n")
}

// normalizeSpaces replaces the non-breaking spaces that protobuf, depending on the build,
// puts into its errors.
func normalizeSpaces(text string) string { return strings.ReplaceAll(text, "\u00a0", " ") }

// locksIn returns the owners of the locks in the server, by key.
func locksIn(t testing.TB, server *servers.Redis) map[string]string {
	t.Helper()
	client := server.Client(func(o *goredis.Options) { o.Password = secret })
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	locks := map[string]string{}
	for _, key := range keys {
		if strings.HasPrefix(key, "mortise:") {
			continue // a key that lock.redis does not have
		}
		if locks[key], err = client.Get(t.Context(), key).Result(); err != nil {
			t.Fatal(err)
		}
	}
	return locks
}

package component

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// httpTestClient is a client of an HTTP server.
type httpTestClient struct {
	client *http.Client
	url    string // of the server, without a final slash
	token  string
}

// newHTTPTestClient serves the memory store over HTTP and returns a client.
func newHTTPTestClient(t *testing.T, o TCPOptions) httpTestClient {
	t.Helper()
	o.HTTPAddress = "127.0.0.1:0"
	addr := serveTCP(t, openServices(t, map[string]string{"store": "memory"}), o)
	return httpTestClient{&http.Client{Transport: transport(t)}, "http://" + addr, o.Token}
}

// transport returns a transport that shares no connections.
func transport(t *testing.T) *http.Transport {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// request returns a request for an operation of component locks, with the token if there
// is one.
func (s httpTestClient) request(ctx context.Context, method, operation, body string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, method, s.url+"/v1/rtm/locks/"+operation, strings.NewReader(body))
	if err != nil {
		panic(err) // the tests' paths are valid
	}
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	return r
}

// httpResponse is a response with its body.
type httpResponse struct {
	code   int
	header http.Header
	proto  string
	body   string

	errorCode         int32
	operation, reason string
}

// do sends the request and returns the response.
func (s httpTestClient) do(t *testing.T, r *http.Request) httpResponse {
	t.Helper()
	response, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, response)
}

// read reads a response.
func read(t *testing.T, response *http.Response) httpResponse {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var fields struct {
		ErrorCode         int32
		Operation, Reason string
	}
	if response.Header.Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(body, &fields); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
	}
	return httpResponse{
		response.StatusCode, response.Header, response.Proto, string(body), fields.ErrorCode, fields.Operation, fields.Reason,
	}
}

// post sends the body to an operation.
func (s httpTestClient) post(t *testing.T, operation, body string) httpResponse {
	t.Helper()
	return s.do(t, s.request(t.Context(), http.MethodPost, operation, body))
}

// must is post for an operation that has to succeed.
func (s httpTestClient) must(t *testing.T, operation, body string) httpResponse {
	t.Helper()
	got := s.post(t, operation, body)
	if got.code != http.StatusOK {
		t.Fatalf("%s: %d %s", operation, got.code, got.body)
	}
	return got
}

// Requests for a lock by ann, and by bob, who waits for it.
const (
	byAnn = `{"user":"ann","channel":"c","channelType":1,"lockName":"l"}`
	byBob = `{"user":"bob","channel":"c","channelType":1,"lockName":"l","retry":true}`
)

// eventStream reads the events of a stream.
type eventStream struct{ lines *bufio.Scanner }

// subscribe opens a stream and reads its first event, which is a snapshot.
func (s httpTestClient) subscribe(t *testing.T, path string) eventStream {
	t.Helper()
	response, err := s.client.Do(s.request(timeoutContext(t), http.MethodGet, path, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	e := eventStream{bufio.NewScanner(response.Body)}
	if name, data := e.next(); response.StatusCode != http.StatusOK || name != "SNAPSHOT" {
		t.Fatalf("%d %s %s", response.StatusCode, name, data)
	}
	return e
}

// next returns the next event, which is empty after the last.
func (e eventStream) next() (name, data string) {
	for e.lines.Scan() {
		field, value, _ := strings.Cut(e.lines.Text(), ": ")
		switch field {
		case "event":
			name = value
		case "data":
			return name, value
		}
	}
	return "", ""
}

// awaitWaiter waits until bob waits for the lock. From then on another request of bob for
// it fails.
func (s httpTestClient) awaitWaiter(t *testing.T) {
	t.Helper()
	try := strings.Replace(byBob, "true", "false", 1)
	for t.Context().Err() == nil && !t.Failed() {
		switch got := s.post(t, "acquireLock", try); got.errorCode {
		case -14003:
			return
		case -14007: // ann holds the lock, and bob does not wait yet
		default:
			t.Errorf("response to bob is %d %s", got.code, got.body)
		}
	}
}

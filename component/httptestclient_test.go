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

// site is an HTTP server as its clients see it.
type httpTestClient struct {
	client *http.Client
	url    string // without a slash at its end
	token  string
}

// serveSite serves memory over HTTP.
func newHTTPTestClient(t *testing.T, o TCPOptions) httpTestClient {
	t.Helper()
	o.HTTPAddress = "127.0.0.1:0"
	addr := serveTCP(t, openServices(t, map[string]string{"store": "memory"}), o)
	return httpTestClient{&http.Client{Transport: transport(t)}, "http://" + addr, o.Token}
}

// transport is that of a client who has its connections for itself.
func transport(t *testing.T) *http.Transport {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// request makes a request to the component "locks", with the token if there is one.
func (s httpTestClient) request(ctx context.Context, method, operation, body string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, method, s.url+"/v1/rtm/locks/"+operation, strings.NewReader(body))
	if err != nil {
		panic(err) // the tests' own paths are good
	}
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	return r
}

// answer is what a site says.
type httpResponse struct {
	code   int
	header http.Header
	proto  string
	body   string

	errorCode         int32
	operation, reason string
}

// answerTo sends the request and returns the answer.
func (s httpTestClient) do(t *testing.T, r *http.Request) httpResponse {
	t.Helper()
	response, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, response)
}

func read(t *testing.T, response *http.Response) httpResponse {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var told struct {
		ErrorCode         int32
		Operation, Reason string
	}
	if response.Header.Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(body, &told); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
	}
	return httpResponse{
		response.StatusCode, response.Header, response.Proto, string(body), told.ErrorCode, told.Operation, told.Reason,
	}
}

// post posts the body to an operation.
func (s httpTestClient) post(t *testing.T, operation, body string) httpResponse {
	t.Helper()
	return s.do(t, s.request(t.Context(), http.MethodPost, operation, body))
}

// must posts the body, to an operation that has to succeed.
func (s httpTestClient) must(t *testing.T, operation, body string) httpResponse {
	t.Helper()
	got := s.post(t, operation, body)
	if got.code != http.StatusOK {
		t.Fatalf("%s: %d %s", operation, got.code, got.body)
	}
	return got
}

// the lock that is set and acquired here.
const (
	byAnn = `{"user":"ann","channel":"c","channelType":1,"lockName":"l"}`
	byBob = `{"user":"bob","channel":"c","channelType":1,"lockName":"l","retry":true}`
)

// events reads a stream's events.
type eventStream struct{ lines *bufio.Scanner }

// listen opens a stream, and takes its first event, which is a snapshot.
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

// next is the next event; empty after the last.
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

// awaitBob returns when bob waits for the lock: then he may not even try to have it.
func (s httpTestClient) awaitWaiter(t *testing.T) {
	t.Helper()
	try := strings.Replace(byBob, "true", "false", 1)
	for t.Context().Err() == nil && !t.Failed() {
		switch got := s.post(t, "acquireLock", try); got.errorCode {
		case -14003:
			return
		case -14007: // somebody else has it
		default:
			t.Errorf("bob is answered %d %s", got.code, got.body)
		}
	}
}

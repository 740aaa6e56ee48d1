package rtm

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/mortise-lock/mortise/component/rtm/rtmhttp"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// overHTTP is an API that writes requests as JSON text, and checks the text of answers.
type overHTTP struct {
	client *http.Client
	url    string
}

// openHTTP returns an API that is a client of an HTTP server. It has no socket; see
// openGRPC.
func openHTTP(t testing.TB, service rtmpb.ChannelLocksServer) api {
	l := listen(t)
	server := httptest.NewUnstartedServer(rtmhttp.Handler(service))
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx) }
	return &overHTTP{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, server.URL + "/v1/rtm/"}
}

// bodies are templates of the requests.
var bodies = map[string]string{
	setLock:     `{"user":$user,"channel":$channel,"channelType":$type,"lockName":$lock,"ttl":$ttl}`,
	acquireLock: `{"user":$user,"channel":$channel,"channelType":$type,"lockName":$lock,"retry":$retry}`,
	releaseLock: `{"user":$user,"channel":$channel,"channelType":$type,"lockName":$lock}`,
	revokeLock:  `{"user":$user,"channel":$channel,"channelType":$type,"lockName":$lock,"owner":$owner}`,
	getLock:     `{"user":$user,"channel":$channel,"channelType":$type}`,
	removeLock:  `{"user":$user,"channel":$channel,"channelType":$type,"lockName":$lock}`,
	keepAlive:   `{"user":$user,"held":$held}`,
	session:     `{"user":$user,"held":$held}`,
	logout:      `{"user":$user,"release":$release}`,
}

// answerMembers are the members of answers. All are required, and no others are allowed.
var answerMembers = map[string]string{
	setLock:     "errorCode channel channelType lockName ttl",
	acquireLock: "errorCode channel channelType lockName ttl lockRev",
	releaseLock: "errorCode channel channelType lockName",
	revokeLock:  "errorCode channel channelType lockName",
	getLock:     "errorCode channel channelType totalLocks locks",
	removeLock:  "errorCode channel channelType lockName",
	keepAlive:   "errorCode locks expired",
	logout:      "errorCode",
}

// body returns the request as JSON.
func (a request) body(operation string) string { return a.expand(bodies[operation]) }

func (a request) expand(template string) string {
	held := make([]string, len(a.held))
	for i, l := range a.held {
		held[i] = fmt.Sprintf(`{"channel":%s,"channelType":%s,"lockName":%s,"owner":%s,"lockRev":%d}`,
			quoted(l.channel), typeInJSON(l.kind), quoted(l.name), quoted(l.owner), l.rev)
	}
	return strings.NewReplacer(
		"$user", quoted(a.user), "$channel", quoted(a.channel), "$type", typeInJSON(a.kind), "$lock", quoted(a.lock),
		"$ttl", fmt.Sprint(a.ttl), "$retry", fmt.Sprint(a.retry), "$owner", quoted(a.owner), "$release", fmt.Sprint(a.release),
		"$held", "["+strings.Join(held, ",")+"]",
	).Replace(template)
}

func quoted(text string) string {
	encoded, _ := json.Marshal(text) // cannot fail for a string
	return string(encoded)
}

// typeInJSON returns a number for one type and a name for the other, to use both formats.
func typeInJSON(kind channelType) string {
	if kind == streamType {
		return `"STREAM"`
	}
	return strconv.Itoa(int(kind))
}

func (d *overHTTP) call(ctx context.Context, operation string, a request) (answer, error) {
	response, err := d.post(ctx, a.store, operation, a.body(operation))
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	if response.StatusCode != http.StatusOK {
		return answer{}, rejectionOf(response.StatusCode, text)
	}
	return answerOf(operation, text)
}

func (d *overHTTP) post(ctx context.Context, store, operation, body string) (*http.Response, error) {
	return d.do(ctx, http.MethodPost, url.PathEscape(store)+"/"+operation, body)
}

func (d *overHTTP) do(ctx context.Context, method, path, body string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, d.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	return d.client.Do(request)
}

func (d *overHTTP) open(ctx context.Context, operation string, a request) (stream, error) {
	var response *http.Response
	var err error
	if operation == subscribe {
		query := url.Values{"user": {a.user}, "channel": {a.channel}, "channelType": {strings.Trim(typeInJSON(a.kind), `"`)}}
		response, err = d.do(ctx, http.MethodGet, url.PathEscape(a.store)+"/subscribe?"+query.Encode(), "")
	} else {
		response, err = d.post(ctx, a.store, operation, a.body(operation))
	}
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			return nil, err
		}
		return nil, rejectionOf(response.StatusCode, text)
	}
	return &events{response.Body, bufio.NewReader(response.Body)}, nil
}

// events are a stream of server-sent events.
type events struct {
	body  io.Closer
	lines *bufio.Reader
}

func (s *events) next() (event, error) {
	name, data, err := s.read()
	if err != nil {
		_ = s.body.Close()
		return event{}, err
	}
	if name == "ERROR" {
		return event{}, failureIn(data)
	}
	e, err := eventOf(data)
	if err == nil && e.kind.String() != name {
		err = fmt.Errorf("the event %s is called %s", data, name)
	}
	return e, err
}

// read returns the next event's name and data, which are a line each.
func (s *events) read() (name string, data []byte, err error) {
	var lines []string
	for len(lines) == 0 {
		if lines, err = s.block(); err != nil {
			return "", nil, err
		}
	}
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "event: ") || !strings.HasPrefix(lines[1], "data: ") {
		return "", nil, fmt.Errorf("no event: %q", lines)
	}
	return lines[0][len("event: "):], []byte(lines[1][len("data: "):]), nil
}

// block returns the lines before the next empty one, without those that are comments.
func (s *events) block() (lines []string, err error) {
	for {
		line, err := s.lines.ReadString('\n')
		switch line = strings.TrimSuffix(line, "\n"); {
		case err != nil:
			return nil, err
		case line == "":
			return lines, nil
		case line[0] != ':':
			lines = append(lines, line)
		}
	}
}

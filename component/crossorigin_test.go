package component

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mortise-lock/mortise/component/internal/telemetry"
	"github.com/mortise-lock/mortise/test/servers"
)

// browserRequest is a request that browsers send for any page without a preflight.
type browserRequest struct {
	name, method, path, body string
	server                   func(*tcpListeners, services) server
	okCode                   int    // status if it is allowed
	refused                  string // start of the body if it is refused
}

var browserRequests = []browserRequest{
	{"RTM's POST", "POST", "/v1/rtm/locks/getLock", `{"user":"u","channel":"c","channelType":1}`, (*tcpListeners).httpServer,
		http.StatusOK, `{"errorCode":-14010,"operation":"RTMGetLockOperation",`},
	// A session without a user fails.
	{"RTM's GET", "GET", "/v1/rtm/locks/session", "", (*tcpListeners).httpServer,
		http.StatusUnauthorized, `{"errorCode":-14010,"operation":"RTMSessionOperation",`},
	{"Dapr's POST", "POST", "/v1.0-alpha1/lock/locks", `{"resourceId":"r","lockOwner":"o","expiryInSeconds":9}`,
		(*tcpListeners).daprHTTPServer, http.StatusOK, `{"errorCode":"ERR_PERMISSION_DENIED",`},
	{"Dapr's GET", "GET", "/v1.0/metadata", "", (*tcpListeners).daprHTTPServer, http.StatusOK, `{"errorCode":"ERR_PERMISSION_DENIED",`},
}

// check sends the request to its server and checks whether it is allowed.
func (b browserRequest) check(t *testing.T, o TCPOptions, host, header, value string, allowed bool) {
	t.Helper()
	n, s := newMemoryServices(t, o)
	s.telemetry.Metrics = telemetry.NewMetrics("", telemetry.NewHealth(discard))
	r := httptest.NewRequest(b.method, b.path, strings.NewReader(b.body))
	r.Host = host
	r.Header.Set(header, value)
	w := httptest.NewRecorder()
	b.server(n, s).(*httpServer).Handler.ServeHTTP(w, r)
	if allowed && w.Code != b.okCode ||
		!allowed && (w.Code != http.StatusForbidden || !strings.HasPrefix(w.Body.String(), b.refused)) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestCrossOriginProtection(t *testing.T) {
	for _, row := range []struct {
		name, header, value string
		allowed             bool
	}{
		{"a page of another site", "Sec-Fetch-Site", "cross-site", false},
		{"a page of an origin with another name", "Origin", "https://evil.example", false},
		{"a page of this site", "Sec-Fetch-Site", "same-origin", true},
		{"a URL that the user has entered", "Sec-Fetch-Site", "none", true},
		{"a client that is no browser", "Accept", "*/*", true},
	} {
		for _, b := range browserRequests {
			t.Run(b.name+" for "+row.name, func(t *testing.T) {
				b.check(t, TCPOptions{}, "localhost:7080", row.header, row.value, row.allowed)
			})
		}
	}
}

func TestRequireLocalHost(t *testing.T) {
	metrics := browserRequest{"metrics", "GET", "/metrics", "", (*tcpListeners).metricsServer, http.StatusOK, "the Host header must name localhost"}
	certificate := servers.NewCertificate(t)
	secured := TCPOptions{Address: "127.0.0.1:0", CertFile: certificate.File, KeyFile: certificate.KeyFile}
	for _, row := range []struct {
		name, host string
		options    TCPOptions
		allowed    bool
	}{
		{"localhost", "localhost", TCPOptions{}, true},
		{"localhost and a port", "LocalHost:7080", TCPOptions{}, true},
		{"an address", "127.0.0.1:7080", TCPOptions{}, true},
		{"another address of this machine", "127.8.9.10", TCPOptions{}, true},
		{"an address of IPv6", "[::1]", TCPOptions{}, true},
		{"an address of IPv6 and a port", "[::1]:80", TCPOptions{}, true},
		{"no host", "", TCPOptions{}, true},
		{"the machine of a container", "host.docker.internal:7080", TCPOptions{}, true},
		{"a site that resolves to a loopback address", "evil.example:7080", TCPOptions{}, false},
		{"a site whose name begins with localhost", "localhost.evil.example", TCPOptions{}, false},
		{"a site whose name begins with a loopback address", "127.0.0.1.evil.example:80", TCPOptions{}, false},
		{"another machine", "192.0.2.1:7080", TCPOptions{}, false},
		{"two ports", "evil.example:localhost:80", TCPOptions{}, false},
		{"any host with TLS", "mortise.example:7080", secured, true},
		{"any host if other machines may connect", "mortise.example:7080", TCPOptions{Address: ":0", AllowInsecure: true}, true},
	} {
		for _, b := range append(browserRequests, metrics) {
			t.Run(b.name+" for "+row.name, func(t *testing.T) {
				origin := "http://" + row.host // the same origin
				b.check(t, row.options, row.host, "Origin", origin, row.allowed)
			})
		}
	}
	for _, b := range append(browserRequests, metrics) {
		t.Run(b.name+" with a token", func(t *testing.T) {
			b.okCode = http.StatusUnauthorized
			tokens := TCPOptions{Address: "127.0.0.1:0", Token: "secret", Dapr: DaprOptions{Token: "secret"}}
			b.check(t, tokens, "mortise.example", "Accept", "*/*", true)
		})
	}
}

// Authentication at the endpoints of an exposed Mortise.
package e2e

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/test/servers"
)

// authCase is a caller of an endpoint, and the outcome of its call.
type authCase struct {
	name   string
	caller func(endpoint) caller
	want   outcome
}

// withHeader returns an authorized caller with this header, or none, instead of the
// token.
func withHeader(e endpoint, name, value string) caller {
	c := e.authorized()
	c.header = http.Header{}
	if name != "" {
		c.header[name] = []string{value}
	}
	return c
}

// otherToken returns the header and the token of endpoints of the other kind.
func (e endpoint) otherToken() (header, token string) {
	if e.header == "dapr-api-token" {
		return "authorization", ourToken
	}
	return "dapr-api-token", daprToken
}

// withTLSConfig returns an authorized caller with a changed TLS configuration.
func withTLSConfig(change func(*tls.Config)) func(endpoint) caller {
	return func(e endpoint) caller {
		c := e.authorized()
		c.tls = c.tls.Clone()
		change(c.tls)
		return c
	}
}

// withCertificates returns an authorized caller with these certificates.
func withCertificates(certificates ...tls.Certificate) func(endpoint) caller {
	return withTLSConfig(func(c *tls.Config) {
		// GetClientCertificate ignores which CAs the server accepts.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if len(certificates) == 0 {
				return &tls.Certificate{}, nil
			}
			return &certificates[0], nil
		}
	})
}

// tokenCases are callers whose TLS is accepted.
var tokenCases = []authCase{
	{"the token", endpoint.authorized, answered},
	{"no token", func(e endpoint) caller { return withHeader(e, "", "") }, unauthenticated},
	{"an empty token", func(e endpoint) caller { return withHeader(e, e.header, "") }, unauthenticated},
	{"a wrong token", func(e endpoint) caller { return withHeader(e, e.header, e.value+"x") }, unauthenticated},
	{"a prefix of the token", func(e endpoint) caller { return withHeader(e, e.header, e.value[:len(e.value)-1]) }, unauthenticated},
	{"the token in the header of other endpoints", func(e endpoint) caller {
		header, _ := e.otherToken()
		return withHeader(e, header, e.value)
	}, unauthenticated},
	{"the token of other endpoints", func(e endpoint) caller {
		_, token := e.otherToken()
		if scheme, _, ok := strings.Cut(e.value, " "); ok {
			token = scheme + " " + token
		}
		return withHeader(e, e.header, token)
	}, unauthenticated},
	{"the token and header of other endpoints", func(e endpoint) caller {
		header, token := e.otherToken()
		return withHeader(e, header, token)
	}, unauthenticated},
}

func TestExposed_Authentication(t *testing.T) {
	t.Parallel()
	certificate, other := servers.NewCertificate(t), servers.NewCertificate(t)
	now := time.Now()
	withoutTLS, withTLS, withClientCA := securities(certificate)
	withoutClientTLS := func(e endpoint) caller {
		c := e.authorized()
		c.tls = nil
		return c
	}
	oldTLS := withTLSConfig(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
	for _, row := range []struct {
		security security
		cases    []authCase
	}{
		{withoutTLS, []authCase{
			{"TLS", func(e endpoint) caller {
				c := e.authorized()
				c.tls = withTLS.tls
				return c
			}, disconnected},
		}},
		{withTLS, []authCase{
			{"no TLS", withoutClientTLS, disconnected},
			{"an old version of TLS", oldTLS, disconnected},
			{"a certificate that the server does not request", withCertificates(other.Issue(t, now.Add(-time.Hour), now.Add(time.Hour))), answered},
		}},
		{withClientCA, []authCase{
			{"no TLS", withoutClientTLS, disconnected},
			{"an old version of TLS", oldTLS, disconnected},
			{"no certificate", withCertificates(), disconnected},
			{"a valid certificate", withCertificates(certificate.Issue(t, now.Add(-time.Hour), now.Add(time.Hour))), answered},
			{"an expired certificate", withCertificates(certificate.Issue(t, now.Add(-time.Hour), now.Add(-time.Minute))), disconnected},
			{"a certificate that is not valid yet", withCertificates(certificate.Issue(t, now.Add(time.Hour), now.Add(2*time.Hour))), disconnected},
			{"a certificate of another CA", withCertificates(other.Issue(t, now.Add(-time.Hour), now.Add(time.Hour))), disconnected},
		}},
	} {
		t.Run(row.security.name, func(t *testing.T) {
			t.Parallel()
			x := startExposed(t, row.security)
			for _, s := range append(tokenCases, row.cases...) {
				for _, e := range x.endpoints {
					if err := e.expect(t.Context(), s.caller(e), s.want); err != nil {
						t.Errorf("%s: %v", s.name, err)
					}
				}
			}
			for _, token := range []string{ourToken, daprToken} {
				if x.line(token) != "" {
					t.Error("a token is in the log")
				}
			}
		})
	}
}

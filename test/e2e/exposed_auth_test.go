// Who may not use an exposed Mortise.
package e2e

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/test/servers"
)

// stranger is somebody who calls an endpoint, and what comes of that.
type authCase struct {
	name   string
	caller func(endpoint) caller
	want   outcome
}

// having is a caller with one header, or none, who may come in otherwise.
func withHeader(e endpoint, name, value string) caller {
	c := e.authorized()
	c.header = http.Header{}
	if name != "" {
		c.header[name] = []string{value}
	}
	return c
}

// elsewhere is the header, and the token, of endpoints of the other kind.
func (e endpoint) otherToken() (header, token string) {
	if e.header == "dapr-api-token" {
		return "authorization", ourToken
	}
	return "dapr-api-token", daprToken
}

// by is a caller whose TLS is another.
func withTLSConfig(change func(*tls.Config)) func(endpoint) caller {
	return func(e endpoint) caller {
		c := e.authorized()
		c.tls = c.tls.Clone()
		change(c.tls)
		return c
	}
}

// showing is a caller with this certificate.
func withCertificates(certificates ...tls.Certificate) func(endpoint) caller {
	return withTLSConfig(func(c *tls.Config) {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // whatever the server asks for
			if len(certificates) == 0 {
				return &tls.Certificate{}, nil
			}
			return &certificates[0], nil
		}
	})
}

// withTokens are those who may come as far as to show a token.
var tokenCases = []authCase{
	{"who has the token", endpoint.authorized, answered},
	{"who has none", func(e endpoint) caller { return withHeader(e, "", "") }, unauthenticated},
	{"who has an empty one", func(e endpoint) caller { return withHeader(e, e.header, "") }, unauthenticated},
	{"who has a wrong one", func(e endpoint) caller { return withHeader(e, e.header, e.value+"x") }, unauthenticated},
	{"who has the beginning of it", func(e endpoint) caller { return withHeader(e, e.header, e.value[:len(e.value)-1]) }, unauthenticated},
	{"who has it in the header of other endpoints", func(e endpoint) caller {
		header, _ := e.otherToken()
		return withHeader(e, header, e.value)
	}, unauthenticated},
	{"who has that of other endpoints", func(e endpoint) caller {
		_, token := e.otherToken()
		if scheme, _, ok := strings.Cut(e.value, " "); ok {
			token = scheme + " " + token
		}
		return withHeader(e, e.header, token)
	}, unauthenticated},
	{"who has that of other endpoints, in their header", func(e endpoint) caller {
		header, token := e.otherToken()
		return withHeader(e, header, token)
	}, unauthenticated},
}

func TestExposed_Authentication(t *testing.T) {
	t.Parallel()
	certificate, other := servers.NewCertificate(t), servers.NewCertificate(t)
	now := time.Now()
	withoutTLS, withTLS, withClientCA := securities(certificate)
	plainly := func(e endpoint) caller {
		c := e.authorized()
		c.tls = nil
		return c
	}
	old := withTLSConfig(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
	for _, row := range []struct {
		security  security
		strangers []authCase
	}{
		{withoutTLS, []authCase{
			{"who speaks TLS", func(e endpoint) caller {
				c := e.authorized()
				c.tls = withTLS.tls
				return c
			}, disconnected},
		}},
		{withTLS, []authCase{
			{"who speaks no TLS", plainly, disconnected},
			{"who speaks old TLS", old, disconnected},
			{"who shows a certificate that nobody asks for", withCertificates(other.Issue(t, now.Add(-time.Hour), now.Add(time.Hour))), answered},
		}},
		{withClientCA, []authCase{
			{"who speaks no TLS", plainly, disconnected},
			{"who speaks old TLS", old, disconnected},
			{"who shows no certificate", withCertificates(), disconnected},
			{"who shows a good one", withCertificates(certificate.Issue(t, now.Add(-time.Hour), now.Add(time.Hour))), answered},
			{"who shows one that has expired", withCertificates(certificate.Issue(t, now.Add(-time.Hour), now.Add(-time.Minute))), disconnected},
			{"who shows one that is not good yet", withCertificates(certificate.Issue(t, now.Add(time.Hour), now.Add(2*time.Hour))), disconnected},
			{"who shows one of another CA", withCertificates(other.Issue(t, now.Add(-time.Hour), now.Add(time.Hour))), disconnected},
		}},
	} {
		t.Run(row.security.name, func(t *testing.T) {
			t.Parallel()
			x := startExposed(t, row.security)
			for _, s := range append(tokenCases, row.strangers...) {
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

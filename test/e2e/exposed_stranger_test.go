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
type stranger struct {
	name string
	is   func(endpoint) caller
	want outcome
}

// having is a caller with one header, or none, who may come in otherwise.
func having(e endpoint, name, value string) caller {
	c := e.welcome()
	c.header = http.Header{}
	if name != "" {
		c.header[name] = []string{value}
	}
	return c
}

// elsewhere is the header, and the token, of endpoints of the other kind.
func (e endpoint) elsewhere() (header, token string) {
	if e.header == "dapr-api-token" {
		return "authorization", ourToken
	}
	return "dapr-api-token", daprToken
}

// by is a caller whose TLS is another.
func by(change func(*tls.Config)) func(endpoint) caller {
	return func(e endpoint) caller {
		c := e.welcome()
		c.tls = c.tls.Clone()
		change(c.tls)
		return c
	}
}

// showing is a caller with this certificate.
func showing(certificates ...tls.Certificate) func(endpoint) caller {
	return by(func(c *tls.Config) {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // whatever the server asks for
			if len(certificates) == 0 {
				return &tls.Certificate{}, nil
			}
			return &certificates[0], nil
		}
	})
}

// withTokens are those who may come as far as to show a token.
var withTokens = []stranger{
	{"who has the token", endpoint.welcome, answered},
	{"who has none", func(e endpoint) caller { return having(e, "", "") }, needsToken},
	{"who has an empty one", func(e endpoint) caller { return having(e, e.header, "") }, needsToken},
	{"who has a wrong one", func(e endpoint) caller { return having(e, e.header, e.value+"x") }, needsToken},
	{"who has the beginning of it", func(e endpoint) caller { return having(e, e.header, e.value[:len(e.value)-1]) }, needsToken},
	{"who has it in the header of other endpoints", func(e endpoint) caller {
		header, _ := e.elsewhere()
		return having(e, header, e.value)
	}, needsToken},
	{"who has that of other endpoints", func(e endpoint) caller {
		_, token := e.elsewhere()
		if scheme, _, ok := strings.Cut(e.value, " "); ok {
			token = scheme + " " + token
		}
		return having(e, e.header, token)
	}, needsToken},
	{"who has that of other endpoints, in their header", func(e endpoint) caller {
		header, token := e.elsewhere()
		return having(e, header, token)
	}, needsToken},
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	certificate, other := servers.NewCertificate(t), servers.NewCertificate(t)
	now := time.Now()
	withoutTLS, withTLS, withClientCA := newSecurities(certificate)
	plainly := func(e endpoint) caller {
		c := e.welcome()
		c.tls = nil
		return c
	}
	old := by(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
	for _, row := range []struct {
		security  security
		strangers []stranger
	}{
		{withoutTLS, []stranger{
			{"who speaks TLS", func(e endpoint) caller {
				c := e.welcome()
				c.tls = withTLS.tls
				return c
			}, cutOff},
		}},
		{withTLS, []stranger{
			{"who speaks no TLS", plainly, cutOff},
			{"who speaks old TLS", old, cutOff},
			{"who shows a certificate that nobody asks for", showing(other.Issue(t, now.Add(-time.Hour), now.Add(time.Hour))), answered},
		}},
		{withClientCA, []stranger{
			{"who speaks no TLS", plainly, cutOff},
			{"who speaks old TLS", old, cutOff},
			{"who shows no certificate", showing(), cutOff},
			{"who shows a good one", showing(certificate.Issue(t, now.Add(-time.Hour), now.Add(time.Hour))), answered},
			{"who shows one that has expired", showing(certificate.Issue(t, now.Add(-time.Hour), now.Add(-time.Minute))), cutOff},
			{"who shows one that is not good yet", showing(certificate.Issue(t, now.Add(time.Hour), now.Add(2*time.Hour))), cutOff},
			{"who shows one of another CA", showing(other.Issue(t, now.Add(-time.Hour), now.Add(time.Hour))), cutOff},
		}},
	} {
		t.Run(row.security.name, func(t *testing.T) {
			t.Parallel()
			x := expose(t, row.security)
			for _, s := range append(withTokens, row.strangers...) {
				for _, e := range x.endpoints {
					if err := e.gets(t.Context(), s.is(e), s.want); err != nil {
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

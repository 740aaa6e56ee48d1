package component

import (
	"net/http"
	"net/url"
	"strings"
)

// refuseFunc responds to a request that is refused.
type refuseFunc func(w http.ResponseWriter, r *http.Request, code int, reason string)

// refuseAsText responds with the reason as plain text.
func refuseAsText(w http.ResponseWriter, _ *http.Request, code int, reason string) {
	http.Error(w, reason, code)
}

// crossOriginProtection returns a handler that calls next, except for requests that a
// browser sends for a page of another site. Without a token such a page could use locks
// in the name of the browser's user. That holds for every method: a GET starts a session,
// which ends the one before.
func crossOriginProtection(next http.Handler, refuse refuseFunc) http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		post := r.WithContext(r.Context()) // a copy
		post.Method = http.MethodPost      // because Check accepts every GET
		if protection.Check(post) != nil {
			refuse(w, r, http.StatusForbidden, "requests for a page of another site are not allowed")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// requireLocalHost returns a handler that calls next, except for requests whose Host
// header does not name this machine. A browser sends them when the name of a site
// resolves to 127.0.0.1 (DNS rebinding). A token or TLS protects against that too; where
// other machines may connect, the names by which they do so are unknown.
func (n *tcpListeners) requireLocalHost(next http.Handler, token bool, refuse refuseFunc) http.Handler {
	if token || n.certificates != nil || n.options.AllowInsecure {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocalHost(r.Host) {
			refuse(w, r, http.StatusForbidden,
				"the Host header must name localhost or a loopback address; other names need a token or TLS")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLocalHost reports whether a Host header can name this machine. It accepts an empty
// one, which browsers do not send, and names in the domain internal, by which containers
// reach the loopback addresses of their machine and which no site can have.
func isLocalHost(header string) bool {
	host := (&url.URL{Host: header}).Hostname()
	return host == "" || isLoopback(host) || strings.HasSuffix(host, ".internal")
}

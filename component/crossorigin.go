package component

import (
	"net/http"
	"net/url"
	"strings"
)

// refusal answers a request that is not served.
type refuseFunc func(w http.ResponseWriter, r *http.Request, code int, reason string)

// refusePlainly refuses in plain words.
func refuseAsText(w http.ResponseWriter, _ *http.Request, code int, reason string) {
	http.Error(w, reason, code)
}

// forOwnPages lets no requests pass that a browser sends for a page of another site.
// Without a token, whoever gets somebody to look at such a page could use locks in his
// name. That is so for every method: a GET begins a session, and ends the one before.
func crossOriginProtection(next http.Handler, refuse refuseFunc) http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		judged := r.WithContext(r.Context()) // a copy
		judged.Method = http.MethodPost      // GET would always pass
		if protection.Check(judged) != nil {
			refuse(w, r, http.StatusForbidden, "the request is for a page of another site")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// forOwnHost lets no requests pass that are for another host than this machine. A browser
// sends them when a site has changed its address to 127.0.0.1 (DNS rebinding), since it
// takes us for that site. With TLS it would not, and without the token it would get
// nowhere; where other machines may connect, nobody knows by which names.
func (n *tcpListeners) requireLocalHost(next http.Handler, token bool, refuse refuseFunc) http.Handler {
	if token || n.certificates != nil || n.options.AllowInsecure {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocalHost(r.Host) {
			refuse(w, r, http.StatusForbidden,
				"the Host header names neither localhost nor a loopback address; other names need a token or TLS")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isOwnHost tells whether a Host header can be that of a request for this machine.
// Browsers never leave it empty, and no site has a name in internal: in it are those by
// which containers reach the loopback addresses of the machine that they run on.
func isLocalHost(header string) bool {
	host := (&url.URL{Host: header}).Hostname()
	return host == "" || isLoopback(host) || strings.HasSuffix(host, ".internal")
}

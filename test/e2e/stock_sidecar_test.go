// Dapr's own daprd, which has no pluggable locks but loads bindings, and an app.
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// bindingOf returns a component of type bindings.mortise with the storage of the lock
// component.
func bindingOf(lock component) component {
	lock.kind = "bindings.mortise"
	return lock
}

// newStockSidecar returns an unmodified daprd that has not been started.
func newStockSidecar(m *mortise, r resources) *sidecar {
	return &sidecar{program: &stockProgram, app: "app", folder: m.folder, resources: r}
}

// startStockSidecar starts an unmodified daprd, for an app unless it is nil, and waits
// until it serves.
func startStockSidecar(t testing.TB, m *mortise, a *app, r resources) *sidecar {
	t.Helper()
	s := newStockSidecar(m, r)
	if a != nil {
		s.flags = []string{"--app-port", a.port}
	}
	s.launch(t)
	s.awaitReady(t)
	return s
}

// binding is an output binding of a sidecar.
type binding struct {
	t    testing.TB
	name string
	url  string
}

func (s *sidecar) binding(t testing.TB, name string) binding {
	return binding{t, name, "http://" + s.httpAddr + "/v1.0/bindings/" + name}
}

// invoke calls an operation.
func (b binding) invoke(ctx context.Context, operation, data string) (code int, answer string, err error) {
	return postJSON(ctx, b.url, fmt.Appendf(nil, `{"operation": %q, "data": %s}`, operation, data))
}

// varyingFields are patterns of fields that differ each time, and their replacements:
// fencing tokens and revisions, remaining times, and messages.
var varyingFields = []struct{ pattern, replacement string }{
	{`"(token|lockRev|revision)":[1-9]\d*`, `"$1":N`},
	{`"(expiresIn|remaining)":"[\d.]+s"`, `"$1":"T"`},
	{`"(message|reason)":"(?:[^"\\]|\\.)* (?:[^"\\]|\\.)*"`, `"$1":"…"`},
}

// normalize replaces the varying fields of the text.
func normalize(text string) string {
	for _, v := range varyingFields {
		text = regexp.MustCompile(v.pattern).ReplaceAllString(text, v.replacement)
	}
	return text
}

// returns fails the test unless the normalized response is want. It returns the fencing
// token of the response.
func (b binding) returns(operation, data, want string) (token uint64) {
	b.t.Helper()
	code, got, err := b.invoke(b.t.Context(), operation, data)
	if err != nil || code != http.StatusOK || normalize(got) != want {
		b.t.Fatalf("%s: %s %s: got %d %s, %v; want %s", b.name, operation, data, code, got, err, want)
	}
	return tokenIn(b.t, got)
}

// fails fails the test unless daprd returns its error for failed operations, with the
// texts.
func (b binding) fails(operation, data string, texts ...string) {
	b.t.Helper()
	if err := b.checkFailure(operation, data, texts...); err != nil {
		b.t.Errorf("%s: %s %s: %v", b.name, operation, data, err)
	}
}

func (b binding) checkFailure(operation, data string, texts ...string) error {
	code, got, err := b.invoke(b.t.Context(), operation, data)
	if err != nil || code != http.StatusInternalServerError || !containsAll(got, append(texts, `"ERR_INVOKE_OUTPUT_BINDING"`)) {
		return fmt.Errorf("got %d %s, %w; want 500 with %q", code, got, err, texts)
	}
	if strings.Contains(got, secret) {
		return fmt.Errorf("the response contains the password: %s", got)
	}
	return nil
}

// eventually retries until the normalized response is want.
func (b binding) eventually(operation, data, want string) {
	b.t.Helper()
	eventually(b.t, b.name+": "+operation, func() error {
		code, got, err := b.invoke(b.t.Context(), operation, data)
		if err == nil && normalize(got) != want {
			err = fmt.Errorf("got %d %s, want %s", code, got, want)
		}
		return err
	})
}

// tokenIn returns the fencing token in a response or event, or 0 if it has none.
func tokenIn(t testing.TB, text string) uint64 {
	t.Helper()
	var has struct{ Token, LockRev uint64 }
	if err := json.Unmarshal([]byte(text), &has); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return has.Token + has.LockRev
}

// app is an app that receives lock events.
type app struct {
	t        testing.TB
	port     string
	events   chan string   // the received events in order
	failures chan struct{} // each makes it fail once
}

// startApp starts an app that runs until the test ends.
func startApp(t testing.TB) *app {
	t.Helper()
	a := &app{t: t, events: make(chan string, 1000), failures: make(chan struct{}, 1000)}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	_, a.port, _ = net.SplitHostPort(server.Listener.Addr().String())
	return a
}

// ServeHTTP receives an event, or confirms that the app accepts the events of a binding.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		return // OPTIONS checks whether the app accepts events
	}
	event, err := io.ReadAll(r.Body)
	if err != nil {
		return // daprd has ended
	}
	select {
	case <-a.failures:
		w.WriteHeader(http.StatusInternalServerError)
	default:
	}
	a.events <- string(event)
}

// receives fails the test unless the next normalized event is want. It returns the
// fencing token of the event.
func (a *app) receives(want string) (token uint64) {
	a.t.Helper()
	select {
	case got := <-a.events:
		if normalize(got) != want {
			a.t.Fatalf("event: got %s, want %s", got, want)
		}
		return tokenIn(a.t, got)
	case <-time.After(waitTimeout):
		a.t.Fatalf("got no event, want %s", want)
		return 0
	}
}

// Dapr's own daprd, which knows no locks but loads bindings, and an app at its other end.
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

// bindingOf is a component of type bindings.mortise that keeps its locks where the lock
// component would.
func bindingOf(lock component) component {
	lock.kind = "bindings.mortise"
	return lock
}

// newStock is an unmodified daprd that has not been started.
func newStockSidecar(m *mortise, r resources) *sidecar {
	return &sidecar{program: &stockProgram, app: "app", folder: m.folder, resources: r}
}

// startStock starts an unmodified daprd, for an app that listens unless it is nil, and
// waits until it serves.
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

// invoke runs an operation.
func (b binding) invoke(ctx context.Context, operation, data string) (code int, answer string, err error) {
	return postJSON(ctx, b.url, fmt.Appendf(nil, `{"operation": %q, "data": %s}`, operation, data))
}

// varying is what is another each time, in answers and events, and what stands for it
// here: fencing tokens and revisions, the time that is left, and reasons that are for
// people.
var varyingFields = []struct{ found, known string }{
	{`"(token|lockRev|revision)":[1-9]\d*`, `"$1":N`},
	{`"(expiresIn|remaining)":"[\d.]+s"`, `"$1":"T"`},
	{`"(message|reason)":"(?:[^"\\]|\\.)* (?:[^"\\]|\\.)*"`, `"$1":"…"`},
}

// steady is the text with what is varying replaced.
func normalize(text string) string {
	for _, v := range varyingFields {
		text = regexp.MustCompile(v.found).ReplaceAllString(text, v.known)
	}
	return text
}

// answers expects an answer, as steady has it, and returns the fencing token in it.
func (b binding) returns(operation, data, want string) (token uint64) {
	b.t.Helper()
	code, got, err := b.invoke(b.t.Context(), operation, data)
	if err != nil || code != http.StatusOK || normalize(got) != want {
		b.t.Fatalf("%s: %s %s: got %d %s, %v; want %s", b.name, operation, data, code, got, err, want)
	}
	return tokenIn(b.t, got)
}

// fails expects the error that daprd makes of every failure, with the texts in it.
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
		return fmt.Errorf("it tells the password: %s", got)
	}
	return nil
}

// soon expects an answer after a while. What comes before does not count.
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

// tokenIn is the fencing token in an answer or event, 0 if it has none.
func tokenIn(t testing.TB, text string) uint64 {
	t.Helper()
	var has struct{ Token, LockRev uint64 }
	if err := json.Unmarshal([]byte(text), &has); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return has.Token + has.LockRev
}

// app is an app that takes lock events.
type app struct {
	t        testing.TB
	port     string
	events   chan string   // what it was given, in order
	failures chan struct{} // each lets it fail once
}

// startApp starts an app that lives until the test ends.
func startApp(t testing.TB) *app {
	t.Helper()
	a := &app{t: t, events: make(chan string, 1000), failures: make(chan struct{}, 1000)}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	_, a.port, _ = net.SplitHostPort(server.Listener.Addr().String())
	return a
}

// ServeHTTP takes an event, or says that it wants the events of a binding.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		return // OPTIONS asks whether there is anybody
	}
	event, err := io.ReadAll(r.Body)
	if err != nil {
		return // of a daprd that is gone
	}
	select {
	case <-a.failures:
		w.WriteHeader(http.StatusInternalServerError)
	default:
	}
	a.events <- string(event)
}

// isTold expects the next event, as steady has it, and returns the fencing token in it.
func (a *app) receives(want string) (token uint64) {
	a.t.Helper()
	select {
	case got := <-a.events:
		if normalize(got) != want {
			a.t.Fatalf("the app was told %s, want %s", got, want)
		}
		return tokenIn(a.t, got)
	case <-time.After(waitTimeout):
		a.t.Fatalf("the app was told nothing, want %s", want)
		return 0
	}
}

package component

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mortise-lock/mortise/test/servers"
)

func TestMetrics_CallsOfEveryAPI(t *testing.T) {
	f := newFixture(t, func(*Options) {})
	want := []string{
		`mortise_build_info{version="v1.2.3"} 1`,
		`mortise_calls_total{api="rtm",component="locks",operation="declare",outcome="ok",store="memory"} 1`,
	}
	for _, api := range f.useAll() {
		unlock := `operation="unlock",outcome="ok"`
		if api == "rtm" {
			unlock = `operation="release",outcome="ok"`
		}
		for _, done := range []string{`operation="try_lock",outcome="granted"`, `operation="try_lock",outcome="refused"`, unlock} {
			want = append(want, fmt.Sprintf(`mortise_calls_total{api=%q,component="locks",%s,store="memory"} 1`, api, done))
		}
	}
	slices.Sort(want)
	if got := f.metrics("mortise_calls_total", "mortise_build_info"); !slices.Equal(got, want) {
		t.Errorf("metrics are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := f.metrics("mortise_lock"); len(got) != 0 {
		t.Errorf("without --lock-event-metrics there are %q", got)
	}
	if err := f.end(t); err != nil {
		t.Error(err)
	}
}

func TestTokenAuth_Metrics(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.TCP.Token = "secret" })
	for _, row := range []struct {
		path, token string
		want        int
	}{
		{"/metrics", "", http.StatusUnauthorized},
		{"/metrics", "other", http.StatusUnauthorized},
		{"/metrics", "secret", http.StatusOK},
		{"/healthz", "", http.StatusNoContent},
		{"/", "secret", http.StatusNotFound},
	} {
		if got := f.scrape(row.path, row.token); got.code != row.want {
			t.Errorf("%s with %q: %d, %s", row.path, row.token, got.code, got.body)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+f.tcp.MetricsAddress+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := (httpTestClient{client: &http.Client{Transport: transport(t)}}).do(t, r); got.code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", got.code)
	}
}

func TestTCPOptions_MetricsAddress(t *testing.T) {
	c := servers.NewCertificate(t)
	for _, row := range []struct {
		name    string
		options TCPOptions
		want    string
	}{
		{"plain", TCPOptions{MetricsAddress: ":0"}, "--metrics-address :0 can be reached from other machines, without TLS"},
		{"with TLS alone", TCPOptions{MetricsAddress: ":0", CertFile: c.File, KeyFile: c.KeyFile}, "with neither a token"},
		{"allowed", TCPOptions{MetricsAddress: ":0", AllowInsecure: true}, ""},
		{"on this machine", TCPOptions{MetricsAddress: "127.0.0.1:0"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) { checkTCPOptions(t, row.options, row.want) })
	}
}

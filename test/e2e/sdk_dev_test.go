// `mortise dev`, which apps use with Dapr's SDKs and without a sidecar.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	dapr "github.com/dapr/go-sdk/client"
)

// devStore is the only component of `mortise dev`.
const devStore = "lockstore"

// dev is a `mortise dev` on free ports.
type dev struct {
	*process
	token              string // the token that apps must send; empty: none
	httpAddr, grpcAddr string
}

// startDev starts `mortise dev` and waits until it serves.
func startDev(t testing.TB, token string, args ...string) *dev {
	t.Helper()
	d := &dev{token: token}
	d.process = start(t, "mortise dev", mortiseProgram.path, append(inFolder(socketsFolder(t)), d.variable()), append([]string{"dev",
		"--http-listen-address", "", "--dapr-grpc-listen-address", "127.0.0.1:0", "--dapr-http-listen-address", "127.0.0.1:0",
	}, args...)...)
	d.awaitLine("Ready on")
	listening := d.after("Listening on ")
	if len(listening) != 2 {
		t.Fatalf("got the listeners %q, want 2", listening)
	}
	d.grpcAddr, d.httpAddr = listening[0], listening[1]
	return d
}

// variable returns the environment variable with the token, for Mortise and the SDKs.
func (d *dev) variable() string { return "DAPR_API_TOKEN=" + d.token }

// after returns what follows the text, up to a space or a quotation mark, in each line
// that contains it.
func (p *process) after(text string) (found []string) {
	for line := range strings.Lines(p.output.String()) {
		if _, rest, ok := strings.Cut(line, text); ok {
			found = append(found, rest[:strings.IndexAny(rest+"\n", "\" \n")])
		}
	}
	return found
}

// goSDK connects Dapr's Go SDK, with or without a token.
func (d *dev) goSDK(t testing.TB, token string) dapr.Client {
	t.Helper()
	client, err := dapr.NewClientWithAddressContext(t.Context(), d.grpcAddr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if token != "" {
		client.WithAuthToken(token)
	}
	return client
}

// javaScriptSDK starts an app with Dapr's JavaScript SDK, which is installed in the
// folder, and returns the API through it.
func (d *dev) javaScriptSDK(t testing.TB, folder, protocol, addr string) api {
	t.Helper()
	port := addr[strings.LastIndex(addr, ":")+1:]
	app := start(t, "app over "+protocol, "node", []string{d.variable()}, folder+"/api.mjs", protocol, port)
	eventually(t, "the app serves", func() error {
		if app.hasEnded() {
			t.Fatalf("the app ended: %v", app.err)
		}
		return app.checkLine("API at ")
	})
	return httpAPI{app.after("API at ")[0]}
}

// requireProgram fails the test if the program is not installed.
func requireProgram(t testing.TB, program, debian string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%v. Debian, Ubuntu: sudo apt-get install %s", err, debian)
	}
}

// installJavaScriptSDK returns a copy of the folder js with its dependencies installed.
func installJavaScriptSDK(t testing.TB) string {
	t.Helper()
	requireProgram(t, "node", "nodejs")
	requireProgram(t, "npm", "npm")
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("js")); err != nil {
		t.Fatal(err)
	}
	// npm downloads packages.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci")
	npm.Dir, npm.WaitDelay = folder, time.Second
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v, %v\n%s", err, ctx.Err(), out)
	}
	return folder
}

// sdks returns the APIs through Dapr's SDKs, by name.
func (d *dev) sdks(t testing.TB, folder string) map[string]api {
	t.Helper()
	return map[string]api{
		"the Go SDK":                   sdkAPI{d.goSDK(t, d.token)},
		"the JavaScript SDK over gRPC": d.javaScriptSDK(t, folder, "GRPC", d.grpcAddr),
		"the JavaScript SDK over HTTP": d.javaScriptSDK(t, folder, "HTTP", d.httpAddr),
	}
}

// withAndWithoutToken runs the test with and without a token that apps must send.
func withAndWithoutToken(t *testing.T, test func(t *testing.T, token string)) {
	t.Helper()
	for _, token := range []string{"", secret} {
		t.Run(fmt.Sprintf("with a token: %t", token != ""), func(t *testing.T) {
			t.Parallel()
			test(t, token)
		})
	}
}

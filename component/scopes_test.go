package component

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	"github.com/mortise-lock/mortise/stores/all"
)

// scopedComponent returns a component with the name, the metadata and the scopes.
func scopedComponent(name, metadata, apps string) string {
	return strings.Replace(componentHead, "name: locks", "name: "+name, 1) + "  metadata: [" + metadata + "]\nscopes: [" + apps + "]\n"
}

// runWithResources starts a process with the resources in one file.
func runWithResources(t *testing.T, o Options, resources ...string) (*process, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "locks.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(resources, "---\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Folder, o.ResourcePaths = t.TempDir(), []string{file}
	return startRun(t, o, all.Backends("memory"))
}

func TestRun_ComponentsLeftToDaprd(t *testing.T) {
	r, err := runWithResources(t, Options{},
		scopedComponent("locks", `{name: keyPrefix, value: "{podName}"}`, ""),
		scopedComponent("twice", "", "shop"),
		scopedComponent("twice", "{name: restartGrace, value: 0s}", "bank"))
	if err != nil {
		t.Fatal(err)
	}
	locks := lockpb.NewLockStoreClient(r.connect(t))
	if ok, err := tryLock(t, locks, "locks", "k"); err != nil || !ok {
		t.Errorf("%v, %v", ok, err)
	}
	if _, err := tryLock(t, locks, "twice", "k"); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("an ambiguous component before Init: %v", err)
	}
	if err := initialize(t, locks, "twice", nil); err != nil {
		t.Fatal(err)
	}
	if ok, err := tryLock(t, locks, "twice", "k"); err != nil || !ok {
		t.Errorf("an ambiguous component after Init: %v, %v", ok, err)
	}
}

func TestRun_ScopesOfOwnApp(t *testing.T) {
	addr := freePort(t)
	o := Options{TCP: TCPOptions{Dapr: DaprOptions{HTTPAddress: addr, AppID: "shop"}}}
	_, err := runWithResources(t, o,
		scopedComponent("unscoped", "", ""),
		scopedComponent("ours", "", "bank, shop"),
		scopedComponent("theirs", "", "bank, shopping"),
		scopedComponent("twice", "", "shop"),
		// The store of the last one does not exist.
		scopedComponent("other", "{name: store, value: paper}", "bank"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"unscoped": `{"success":true}`, "ours": `{"success":true}`, "twice": `{"success":true}`,
		"theirs": `{"errorCode":"ERR_LOCK_STORE_NOT_FOUND","message":"lock store theirs not found"}`,
	} {
		response, err := http.Post("http://"+addr+"/v1.0-alpha1/lock/"+name, "application/json",
			strings.NewReader(`{"resourceId":"r","lockOwner":"o","expiryInSeconds":9}`))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestRun_DuplicateNameForOwnApp(t *testing.T) {
	o := Options{TCP: TCPOptions{Dapr: DaprOptions{HTTPAddress: "127.0.0.1:0", AppID: "shop"}}}
	_, err := runWithResources(t, o, scopedComponent("twice", "", "shop"), scopedComponent("twice", "", ""))
	if err == nil || !strings.Contains(err.Error(), `with the name "twice"`) {
		t.Errorf("%v", err)
	}
}

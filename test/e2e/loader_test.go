// The same folders of resource files for a real daprd, with Dapr's lock.redis, and for
// Mortise: both serve the same components, with the same metadata, or neither starts.
package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	dapr "github.com/dapr/dapr/pkg/components/loader"
	"github.com/dapr/kit/logger"
	goredis "github.com/redis/go-redis/v9"

	ours "github.com/mortise-lock/mortise/component/resources"
	"github.com/mortise-lock/mortise/test/servers"
)

// loadCase is a folder of resource files, and the outcome in the sidecar of the app shop.
//
// An outcome is "ends" if the program does not start. Otherwise it contains, for every
// component that is served, its name, an at sign and the number of the Redis database of
// its locks, and then the key of a lock on the resource R if that is not lock||shop||R.
type loadCase struct {
	name string

	// files are texts by name. $REDIS stands for the address of a server, $DOWN for an
	// address without one, $FOLDER for the folder of the files.
	files map[string]string

	links map[string]string // targets of symbolic links by name
	env   []string
	want  string // daprd's outcome

	// mortise is the outcome of Mortise if it differs on purpose, for this reason. A
	// question mark follows the name of a component that is listed but is opened only by
	// the Init of a daprd.
	mortise, reason string
}

func TestResources_Served(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	down := "127.0.0.1:" + freePort(t)
	starting := make(chan struct{}, 2) // limits how many sidecars start at a time
	for i, row := range loadCases {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			starting <- struct{}{}
			defer func() { <-starting }()
			folder := row.folder(t, strings.NewReplacer("$REDIS", server.Addr, "$DOWN", down))
			row.env = append(row.env, "PLACE="+server.Addr)
			want := servedComponents(t, server, fmt.Sprintf("/%d-daprd/", i), row.startDaprd(t, folder))
			got := servedComponents(t, server, fmt.Sprintf("/%d-mortise/", i), row.startMortise(t, folder))
			if want != row.want {
				t.Errorf("daprd: %q, want %q", want, row.want)
			}
			if row.reason != "" {
				want = row.mortise
			}
			if got != want {
				t.Errorf("mortise: %q, daprd: %q", got, want)
			}
		})
	}
}

// folder writes the row's files to a new folder.
func (row loadCase) folder(t *testing.T, fill *strings.Replacer) string {
	t.Helper()
	dir := socketsFolder(t) // its name has no commas, which separate paths
	for name, text := range row.files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(fill.Replace(strings.ReplaceAll(text, "$FOLDER", dir))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range row.links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// startDaprd starts a sidecar, and returns its base URL, or "" if it ends.
func (row loadCase) startDaprd(t *testing.T, folder string) (base string) {
	t.Helper()
	s := &sidecar{program: &daprdProgram, app: "shop", folder: socketsFolder(t), resources: resources{t, folder}, env: row.env}
	s.launch(t)
	eventually(t, "daprd serves or ends", func() error {
		if s.hasEnded() && s.line("address already in use") != "" {
			s.launch(t)
		}
		if s.hasEnded() {
			return nil
		}
		// Another sidecar may listen on the port, and a sidecar that is about to end logs
		// that it runs.
		return cmp.Or(s.checkLine("dapr initialized. Status: Running"), s.ready())
	})
	if s.hasEnded() {
		return ""
	}
	return "http://" + s.httpAddr
}

// startMortise starts Mortise for the app, as lock.redis, and returns its base URL, or ""
// if it ends.
func (row loadCase) startMortise(t *testing.T, folder string) (base string) {
	t.Helper()
	addr := "127.0.0.1:" + freePort(t)
	m := start(t, "mortise", mortiseProgram.path, append(inFolder(socketsFolder(t)), row.env...),
		"--name", "redis", "--default-store", "redis", "--resources-path", folder, "--app-id", "shop", "--dapr-http-listen-address", addr)
	eventually(t, "mortise serves or ends", func() error {
		if m.hasEnded() {
			return nil
		}
		return m.checkLine("Ready on")
	})
	if m.hasEnded() {
		return ""
	}
	return "http://" + addr
}

// servedComponents acquires a lock of every lock component at the base URL, and returns
// the outcome of the row.
func servedComponents(t *testing.T, server *servers.Redis, resource, base string) string {
	t.Helper()
	if base == "" {
		return "ends"
	}
	var served []string
	for _, name := range lockComponents(t, base) {
		_, answer, err := postJSON(t.Context(), base+"/v1.0-alpha1/lock/"+url.PathEscape(name),
			fmt.Appendf(nil, `{"resourceId": %q, "lockOwner": "o", "expiryInSeconds": 60}`, resource+name))
		switch {
		case err != nil:
			t.Fatal(err)
		case strings.Contains(answer, "is not initialized"):
			served = append(served, name+"?")
		case !strings.Contains(answer, `"success":true`):
			t.Errorf("%s at %s: %s", name, base, answer)
		default:
			served = append(served, name+lockPlace(t, server, resource+name))
		}
	}
	return strings.Join(slices.Sorted(slices.Values(served)), ", ")
}

// lockComponents returns the names of the lock components that the metadata lists.
func lockComponents(t *testing.T, base string) []string {
	t.Helper()
	resp, err := httpClient.Get(base + "/v1.0/metadata")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var metadata struct {
		Components []struct{ Name, Type string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&metadata); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	var names []string
	for _, c := range metadata.Components {
		if strings.HasPrefix(c.Type, "lock.") {
			names = append(names, c.Name)
		}
	}
	return names
}

// lockPlace returns the database and the key of the lock on the resource, as in outcomes.
func lockPlace(t *testing.T, server *servers.Redis, resource string) string {
	t.Helper()
	for db := range 4 {
		client := server.Client(func(o *goredis.Options) { o.DB = db })
		keys, err := client.Keys(t.Context(), "lock*"+resource).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			key = strings.TrimSuffix(key, resource) + "R"
			return strings.TrimSuffix(fmt.Sprintf("@%d %s", db, key), " lock||shop||R")
		}
	}
	return "@nowhere"
}

// read is the fields of a component that are read.
type read struct {
	name, namespace, kind, version, timeout, secretStore string
	ignoreErrors                                         bool
	scopes                                               []string
	items                                                []string
}

// item formats a metadata entry.
func item(name, value string, hasValue bool, variable, secret, key string) string {
	return fmt.Sprintf("%q = %q (%v), variable %q, secret %q %q", name, value, hasValue, variable, secret, key)
}

// TestResources_Read runs Dapr's own loader and ours in one process, which takes much
// less time than starting a daprd.
func TestResources_Read(t *testing.T) {
	for _, row := range slices.Concat(loadCases, loaderCases) {
		t.Run(row.name, func(t *testing.T) {
			for _, variable := range row.env {
				name, value, _ := strings.Cut(variable, "=")
				t.Setenv(name, value)
			}
			compareReads(t, row.folder(t, strings.NewReplacer()))
		})
	}
}

// FuzzResources_Read searches for a file that the two loaders read differently.
func FuzzResources_Read(f *testing.F) {
	for _, row := range slices.Concat(loadCases, loaderCases) {
		for _, text := range row.files {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < 50_000 { // Dapr's loader never returns for a document of 64 kB
			compareReads(t, loadCase{files: map[string]string{"f.yaml": text}}.folder(t, strings.NewReplacer()))
		}
	})
}

// compareReads runs both loaders on the folder, and reports every difference.
func compareReads(t *testing.T, folder string) {
	t.Helper()
	want, wantErr := daprRead(t, folder)
	got, gotErr := mortiseRead(t, folder)
	if !reflect.DeepEqual(got, want) || (gotErr == nil) != (wantErr == nil) {
		t.Errorf("got %+v, %v\nDapr reads %+v, %v", got, gotErr, want, wantErr)
	}
}

func daprRead(t *testing.T, folder string) (all []read, err error) {
	t.Helper()
	components, err := dapr.NewLocalLoader("shop", []string{folder}).Load(t.Context())
	for _, c := range components {
		r := read{c.Name, c.Namespace, c.Spec.Type, c.Spec.Version, c.Spec.InitTimeout, c.SecretStore, c.Spec.IgnoreErrors, c.Scopes, nil}
		for _, i := range c.Spec.Metadata {
			r.items = append(r.items, item(i.Name, i.Value.String(), i.HasValue(), i.EnvRef, i.SecretKeyRef.Name, i.SecretKeyRef.Key))
		}
		all = append(all, r)
	}
	return all, err
}

func mortiseRead(t *testing.T, folder string) (all []read, err error) {
	t.Helper()
	log := logger.NewLogger("loading")
	log.SetOutputLevel(logger.FatalLevel)
	components, err := ours.Loader{LookupEnv: os.LookupEnv, Log: log}.Load(folder)
	if err == nil {
		components, err = ours.ForApp(components, "shop")
	}
	for _, c := range components {
		r := read{c.Metadata.Name, c.Metadata.Namespace, c.Spec.Type, c.Spec.Version, c.Spec.InitTimeout, c.Auth.SecretStore,
			c.Spec.IgnoreErrors, c.Scopes, nil}
		for _, i := range c.Spec.Metadata {
			r.items = append(r.items, item(i.Name, i.Value.String(), len(i.Value) > 0, i.EnvRef, i.SecretKeyRef.Name, i.SecretKeyRef.Key))
		}
		all = append(all, r)
	}
	return all, err
}

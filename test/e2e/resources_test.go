// Dapr's resources folder and the component YAML in it.
package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mortise-lock/mortise/test/servers"
)

// component is a Dapr component, by default of type lock.mortise.
type component struct {
	name         string
	kind         string // the type; default lock.mortise
	metadata     map[string]string
	ignoreErrors bool   // daprd continues without it if it cannot be initialized
	initTimeout  string // default: daprd's
}

// memory returns a component of the memory store.
func memory(name string) component {
	return component{name: name, metadata: map[string]string{"store": "memory"}}
}

// redis returns a component of the redis store, in the server.
func redis(name string, server *servers.Redis) component {
	return component{name: name, metadata: map[string]string{
		"store": "redis", "redisHost": server.Addr, "redisPassword": secret,
	}}
}

// builtin returns a component of Dapr's own lock.redis.
func builtin(name string, server *servers.Redis) component {
	return component{name: name, kind: "lock.redis", metadata: map[string]string{
		"redisHost": server.Addr, "redisPassword": secret,
	}}
}

// with returns the component with one more metadata value.
func (c component) with(key, value string) component {
	c.metadata = maps.Clone(c.metadata)
	c.metadata[key] = value
	return c
}

// yaml returns the component's YAML.
func (c component) yaml() string {
	kind := c.kind
	if kind == "" {
		kind = "lock.mortise"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: %s\n", c.name)
	fmt.Fprintf(&b, "spec:\n  type: %s\n  version: v1\n  ignoreErrors: %t\n", kind, c.ignoreErrors)
	if c.initTimeout != "" {
		fmt.Fprintf(&b, "  initTimeout: %s\n", c.initTimeout)
	}
	b.WriteString("  metadata:\n")
	for _, key := range slices.Sorted(maps.Keys(c.metadata)) {
		fmt.Fprintf(&b, "  - name: %s\n    value: %q\n", key, c.metadata[key])
	}
	return b.String()
}

// resources is a resources folder.
type resources struct {
	t    testing.TB
	path string
}

func newResources(t testing.TB, components ...component) resources {
	t.Helper()
	// The names of t.TempDir may have commas, which separate paths.
	path, err := os.MkdirTemp("", "resources")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(path) })
	r := resources{t: t, path: path}
	for _, c := range components {
		r.write(c)
	}
	return r
}

// write adds or replaces the component atomically.
func (r resources) write(c component) {
	r.t.Helper()
	r.writeFile(c.name+".yaml", c.yaml())
}

// writeSecretly writes the component with the value of one key in a secret store, and
// adds that store.
func (r resources) writeSecretly(c component, key string) {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), "secrets.json")
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"password": %q}`, c.metadata[key]), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.write(component{name: "vault", kind: "secretstores.local.file", metadata: map[string]string{"secretsFile": file}})

	c.metadata = maps.Clone(c.metadata)
	delete(c.metadata, key)
	r.writeFile(c.name+".yaml", c.yaml()+"  - name: "+key+"\n    secretKeyRef:\n      name: password\n      key: password\n"+
		"auth:\n  secretStore: vault\n")
}

func (r resources) writeFile(name, text string) {
	r.t.Helper()
	temporary := filepath.Join(r.t.TempDir(), name)
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(r.path, name)); err != nil {
		r.t.Fatal(err)
	}
}

// startRedis starts a Redis that requires the secret.
func startRedis(t testing.TB) *servers.Redis {
	t.Helper()
	return servers.StartRedis(t, "--requirepass", secret)
}

// startPersistentRedis starts a Redis that requires the secret and persists every write
// before it answers.
func startPersistentRedis(t testing.TB) *servers.Redis {
	t.Helper()
	return servers.StartRedis(t, "--requirepass", secret, "--appendonly", "yes", "--appendfsync", "always")
}

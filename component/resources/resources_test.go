package resources

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dapr/kit/logger"
)

const head = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: locks\nspec:\n  type: lock.mortise\n"

// loader returns a loader with the environment, and its log.
func loader(env map[string]string) (Loader, *strings.Builder) {
	var logged strings.Builder
	log := logger.NewLogger("test of resources")
	log.SetOutput(&logged)
	lookup := func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
	return Loader{lookup, log}, &logged
}

// writeFolder writes the files, by name, to a new folder.
func writeFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// names returns the names of the components, in order.
func names(components []*Component) []string {
	var names []string
	for _, c := range components {
		names = append(names, c.Metadata.Name)
	}
	return names
}

// componentNamed returns a component with the name and more lines of metadata.
func componentNamed(name string, lines ...string) string {
	return strings.Replace(head, "name: locks", "name: "+strings.Join(append([]string{name}, lines...), "\n  "), 1)
}

func TestLoader_LoadFile(t *testing.T) {
	for _, row := range []struct {
		name, text string
		want       []string
		warns      string // part of the log; empty if nothing is logged
	}{
		{"one component", head, []string{"locks"}, ""},
		{"several documents", componentNamed("a") + "---\n" + componentNamed("b") + "--- # the last\n" + componentNamed("c"), []string{"a", "b", "c"}, ""},
		{"a separator before the first and behind the last", "---\n" + head + "---\n", []string{"locks"}, ""},
		{"a separator at the end without a newline", head + "---", []string{"locks"}, ""},
		{"a separator at the end with a space and without a newline", componentNamed("a") + "---\n" + componentNamed("b") + "--- ", []string{"a"}, ""},
		{"lines that end as on Windows", strings.ReplaceAll(componentNamed("a")+"---\n"+componentNamed("b"), "\n", "\r\n"), []string{"a", "b"}, ""},
		{"a byte order mark", "\ufeff" + head, []string{"locks"}, ""},
		{"comments and empty documents", "# nothing\n---\n\n---\n# here\n" + head, []string{"locks"}, ""},
		{"nothing", "", nil, ""},
		{"JSON", `{"apiVersion": "dapr.io/v1alpha1", "kind": "Component", "metadata": {"name": "j"}, "spec": {"type": "x.y"}}`,
			[]string{"j"}, ""},
		{"field names in other cases", "APIVersion: dapr.io/v1alpha1\nKind: Component\nMetadata:\n  NAME: locks\n", []string{"locks"}, ""},
		{"an alias and a merge", "x: &m\n  name: locks\n" + strings.Replace(head, "  name: locks", "  <<: *m", 1), []string{"locks"}, ""},
		{"a key that is repeated", strings.Replace(head, "  name: locks", "  name: a\n  name: b", 1), []string{"b"}, ""},
		{"a name that is a number", componentNamed("7"), []string{"7"}, ""},
		{"no name", strings.Replace(head, "name: locks", "labels: {}", 1), []string{""}, ""},
		{"the metadata that kubectl prints", componentNamed("k", "creationTimestamp: null", "generation: 1", "uid: 0f", "labels: {n: 1}"),
			[]string{"k"}, ""},

		{"another kind", strings.Replace(head, "Component", "Configuration", 1), nil, ""},
		{"a kind in lower case", strings.Replace(head, "Component", "component", 1), nil, ""},
		{"another version of the API", strings.Replace(head, "v1alpha1", "v1", 1), nil, ""},
		{"a list", "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(head), "\n", "\n  "), nil, ""},
		{"metadata of another kind", strings.Replace(head, "Component", "Subscription", 1) + "  metadata: {raw: 1}\n", nil, ""},

		{"bad indentation beside a good document", "a:\n b: 1\n   c: 2\n---\n" + head, []string{"locks"}, "mapping values"},
		{"a line of a Helm template", head + "{{- range .Values.x }}\n---\n" + componentNamed("b"), []string{"b"}, "error converting YAML"},
		{"a value of a Helm template", componentNamed("{{ .Values.name }}") + "---\n" + componentNamed("b"), []string{"b"}, "invalid map key"},
		{"a tab", "\t" + head + "---\n" + componentNamed("b"), []string{"b"}, "cannot start any token"},
		{"scopes as text", head + "scopes: shop\n", nil, "cannot unmarshal string"},
		{"scopes as numbers", head + "scopes: [1]\n", nil, "cannot unmarshal number"},
		{"a truth value as text", head + "  ignoreErrors: 'true'\n", nil, "cannot unmarshal string"},
		{"spec as a number", "apiVersion: dapr.io/v1alpha1\nkind: Component\nspec: 3\n", nil, "cannot unmarshal number"},
		{"metadata as a map", head + "  metadata: {a: b}\n", nil, "cannot unmarshal object"},
		{"a sequence", "- a\n- b\n", nil, "cannot unmarshal array"},
		{"text", "just words", nil, "cannot unmarshal string"},
		{"a name with a slash", componentNamed("a/b"), nil, "metadata.name must"},
		{"a name of dots", componentNamed(".."), nil, "metadata.name must"},
		{"labels that are a list", componentNamed("a", "labels: [a]"), nil, "cannot unmarshal array"},
		{"a time that is none", componentNamed("a", "creationTimestamp: soon"), nil, "cannot parse"},
		{"a document that is too long", head + "---\n# " + strings.Repeat("x", 70_000) + "\n---\n" + componentNamed("b"), []string{"locks"}, "too long"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, logged := loader(nil)
			got, err := l.Load(writeFolder(t, map[string]string{"f.yaml": row.text}))
			if err != nil || !slices.Equal(names(got), row.want) {
				t.Errorf("got %q, %v, want %q", names(got), err, row.want)
			}
			if row.warns == "" && logged.Len() > 0 || !strings.Contains(logged.String(), row.warns) {
				t.Errorf("log is %q, want %q", logged, row.warns)
			}
		})
	}
}

func TestLoader_LoadFolder(t *testing.T) {
	dir := writeFolder(t, map[string]string{
		"2.yaml": componentNamed("a"), "1.YML": componentNamed("b"), "3.json": componentNamed("c"), "notes": "-", ".hidden.yaml": componentNamed("d"), "broken.yaml": "a: [",
	})
	below := filepath.Join(dir, "below.yaml")
	for _, err := range []error{
		os.Mkdir(below, 0o700),
		os.WriteFile(filepath.Join(below, "e.yaml"), []byte(componentNamed("e")), 0o600),
		os.Symlink(filepath.Join(below, "e.yaml"), filepath.Join(dir, "4.yaml")),
		os.Symlink(filepath.Join(dir, "missing"), filepath.Join(dir, "5.yaml")),
		os.Symlink(below, filepath.Join(dir, "6.yaml")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l, logged := loader(nil)
	got, err := l.Load(dir)
	if err != nil || !slices.Equal(names(got), []string{"d", "b", "a", "e"}) {
		t.Errorf("got %q, %v", names(got), err)
	}
	for _, skipped := range []string{"3.json", "notes", "broken.yaml", "5.yaml", "6.yaml"} {
		if !strings.Contains(logged.String(), skipped) {
			t.Errorf("the log does not mention %s", skipped)
		}
	}
}

func TestLoader_LoadAnyFileName(t *testing.T) {
	l, _ := loader(nil)
	file := filepath.Join(writeFolder(t, map[string]string{"locks": head}), "locks")
	got, err := l.Load(file)
	if err != nil || len(got) != 1 || got[0].File != file {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := l.Load(file + ".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a path that does not exist: %v", err)
	}
}

func TestLoader_Namespaces(t *testing.T) {
	dir := writeFolder(t, map[string]string{
		"1.yaml": componentNamed("none"), "2.yaml": componentNamed("staging", "namespace: staging"), "3.yaml": componentNamed("production", "namespace: production"),
	})
	for _, row := range []struct {
		name string
		env  map[string]string
		want []string
	}{
		{"not set", nil, []string{"none", "staging", "production"}},
		{"empty", map[string]string{"NAMESPACE": ""}, []string{"none", "staging", "production"}},
		{"one of them", map[string]string{"NAMESPACE": "staging"}, []string{"none", "staging"}},
		{"another", map[string]string{"NAMESPACE": "default"}, []string{"none"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, _ := loader(row.env)
			if got, err := l.Load(dir); err != nil || !slices.Equal(names(got), row.want) {
				t.Errorf("got %q, %v, want %q", names(got), err, row.want)
			}
		})
	}
}

// parseOne returns the only component in the text.
func parseOne(t *testing.T, text string) *Component {
	t.Helper()
	components, err := parse(strings.NewReader(text))
	if err != nil || len(components) != 1 {
		t.Fatalf("%d components, %v", len(components), err)
	}
	return components[0]
}

func TestLoader_Properties(t *testing.T) {
	c := parseOne(t, head+`  version: v1
  metadata:
  - name: text
    value: "07"
  - {name: number, value: 3}
  - {name: octal, value: 017}
  - {name: big, value: 1e3}
  - {name: truth, value: true}
  - {name: yes, value: yes}
  - {name: date, value: 2020-01-01}
  - {name: nothing, value: }
  - {name: absent}
  - {name: list, value: [1, a]}
  - {name: map, value: {b: 1, a: "<"}}
  - {name: quoted, value: '"q"'}
  - {name: special, value: "é<\u2028\t\\"}
  - {name: repeated, value: 1}
  - {name: repeated, value: 2}
  - {name: env, envRef: LOCK_HOST}
  - {name: empty env, envRef: EMPTY}
  - {name: quoted env, envRef: QUOTED}
  - {name: null and env, value: null, envRef: LOCK_HOST}
  - {name: value and env, value: v, envRef: LOCK_HOST}
  - {name: empty and env, value: "", envRef: LOCK_HOST}
  - {name: env and secret, envRef: LOCK_HOST, secretKeyRef: {name: a, key: b}}
  - {name: denied, envRef: Dapr_Host}
  - {name: denied token, envRef: APP_API_TOKEN}
  - {name: no name of a secret, value: v, secretKeyRef: {key: b}}
  - name: lines
    value: |
      a
      b
`)
	l, logged := loader(map[string]string{"LOCK_HOST": "h", "EMPTY": "", "QUOTED": `"q"`, "Dapr_Host": "secret", "APP_API_TOKEN": "secret"})
	got, err := l.Properties(c)
	want := map[string]string{
		"text": "07", "number": "3", "octal": "15", "big": "1000", "truth": "true", "true": "true", "date": "2020-01-01",
		"nothing": "", "absent": "", "list": `[1,"a"]`, "map": `{"a":"\u003c","b":1}`, "quoted": `"q"`,
		"special": "é<\u2028\t\\", "repeated": "2", "env": "h", "empty env": "", "quoted env": "q", "null and env": "h",
		"value and env": "v", "empty and env": "", "env and secret": "h", "denied": "", "denied token": "",
		"no name of a secret": "v", "lines": "a\nb\n",
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
	if log := logged.String(); strings.Count(log, "does not allow") != 2 || strings.Contains(log, "secret") {
		t.Errorf("log is %s", log)
	}
}

func TestLoader_PropertiesForDaprdOnly(t *testing.T) {
	for _, row := range []struct {
		name, item string
		want       error
		text       string
	}{
		{"a secret", "secretKeyRef: {name: a, key: b}", ErrSecret, "metadata key k: is in a secret store"},
		{"a secret in the place of a value", "value: v, secretKeyRef: {name: a}", ErrSecret, "metadata key k: is in a secret store"},
		{"a variable that is not set", "envRef: LOCK_HOST", ErrNoVariable,
			"metadata key k: variable LOCK_HOST is not set in Mortise's environment"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, _ := loader(nil)
			got, err := l.Properties(parseOne(t, head+"  metadata:\n  - {name: plain, value: v}\n  - {name: k, "+row.item+"}\n"))
			if !errors.Is(err, row.want) || err.Error() != row.text || !maps.Equal(got, map[string]string{"plain": "v"}) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestLoader_MayReferTo(t *testing.T) {
	for _, row := range []struct {
		variable, allowed string
		want              bool
	}{
		{"HOST", "", true},
		{"host", "", true},
		{"DAPR_HOST", "", false},
		{"dapr_host", "", false},
		{"app_api_token", "", false},
		{"MY HOST", "", false},
		{"HOST", "HOST", true},
		{"host", "PORT HOST", true},
		{"HOST", "HOST PORT", true},
		{"HOST", "PORT HOST NAME", true},
		{"HOST", "PORT", false},
		{"HOST", "MY_HOST", false},
		{"HOST", "HOSTS", false},
		{"HOST", "MY_HOST HOST", false}, // daprd looks at the first place only
		{"HOST", "host", false},
	} {
		l, _ := loader(map[string]string{"DAPR_ENV_KEYS": row.allowed})
		if got := l.mayReferTo(row.variable); got != row.want {
			t.Errorf("%s, of %q: %v", row.variable, row.allowed, got)
		}
	}
}

func TestForApp(t *testing.T) {
	scoped := func(name string, apps ...string) *Component {
		return &Component{Metadata: ObjectMeta{Name: name}, Scoped: Scoped{apps}, File: name + " of " + strings.Join(apps, ",")}
	}
	for _, row := range []struct {
		name string
		all  []*Component
		want []string // for app shop
		err  string   // for app shop
		none bool     // no daprd starts
	}{
		{"components for every app and for this one", []*Component{scoped("a"), scoped("b", "bank", "shop"), scoped("c", "bank")},
			[]string{"a", "b"}, "", false},
		{"one name for two apps, this app's last", []*Component{scoped("a", "bank"), scoped("a", "shop")}, []string{"a"}, "", false},
		{"one name for two apps, this app's first", []*Component{scoped("a", "shop"), scoped("a", "bank")}, nil, `with the name "a"`, false},
		{"one name for every app, and later for another", []*Component{scoped("a"), scoped("a", "bank")}, nil, `with the name "a"`, true},
		{"one name for this app, and later for every app", []*Component{scoped("a", "shop"), scoped("a")}, nil, `with the name "a"`, false},
		{"one name for every app, twice", []*Component{scoped("a"), scoped("a")}, nil, `with the name "a"`, true},
		{"no name, twice", []*Component{scoped(""), scoped("")}, nil, `with the name ""`, true},
		{"nothing", nil, nil, "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := ForApp(row.all, "shop")
			if row.err != "" {
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("got %q, %v, want %q", names(got), err, row.err)
				}
			} else if err != nil || !slices.Equal(names(got), row.want) {
				t.Errorf("got %q, %v, want %q", names(got), err, row.want)
			}
			if err := Check(row.all); (err != nil) != row.none {
				t.Errorf("Check: %v", err)
			}
		})
	}
}

func TestSpec_Timeout(t *testing.T) {
	for written, want := range map[string]time.Duration{
		"": 5 * time.Second, "30s": 30 * time.Second, "1m30s": 90 * time.Second, "0": 0, "-1s": -time.Second, "5": 5 * time.Second, "soon": 5 * time.Second,
	} {
		if got := (Spec{InitTimeout: written}).Timeout(); got != want {
			t.Errorf("%q is %v, want %v", written, got, want)
		}
	}
}

// FuzzLoad checks that no file makes the parser panic.
func FuzzLoad(f *testing.F) {
	f.Add(head + "  metadata:\n  - {name: a, value: 1}\n")
	f.Add("---\n---\n- a\n")
	f.Add("apiVersion: dapr.io/v1alpha1\nkind: Component\nspec: {metadata: [{name: x, value: &a [*a]}]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		components, _ := parse(strings.NewReader(text))
		l, _ := loader(nil)
		l.Log.SetOutput(io.Discard)
		for _, c := range components {
			_, _ = l.Properties(c)
		}
	})
}

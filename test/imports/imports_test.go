// Package imports checks which folders import which. The compiler does not.
package imports

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/mortise-lock/mortise/"
)

// A rule lists what the packages of a unit may import from this repository besides the
// unit itself. See unitOf for units.
type rule struct {
	unit    string   // a pattern of path.Match
	imports []string // patterns of units
	reason  string
}

// rules apply to Go files except tests. The first rule whose pattern matches a unit
// applies to it, so that a new store or API needs none. A unit that may import more than
// its siblings, such as a backend that may import another one, has a rule of its own
// above theirs.
var rules = []rule{
	{".", []string{"cli", "component", "internal", "stores", "stores/all"}, "main only connects the parts"},
	{"proto", nil, "the protocols depend on nothing"},
	{"internal", nil, "general packages depend on nothing"},

	{"stores", []string{"internal"}, "the contract depends on no backend and no protocol"},
	{"stores/all", []string{"stores", "stores/*"}, "the list of backends depends on these only"},
	{"stores/internal", []string{"stores", "internal"}, "what backends share depends on no backend"},
	{"stores/records", []string{"stores", "stores/internal", "internal"}, "what backends share depends on no backend"},
	{"stores/*", []string{"stores", "stores/internal", "stores/records", "internal"},
		"a backend depends on no other backend and no API"},

	{"component", []string{"component/*", "stores", "proto", "internal"}, "main chooses the backends"},
	{"component/internal", []string{"component/instances", "component/resources", "stores", "proto", "internal"},
		"what APIs share depends on no API"},
	{"component/resources", []string{"component/internal", "stores", "internal"}, "resources depend on no API"},
	{"component/instances", []string{"component/internal", "component/resources", "stores", "proto", "internal"},
		"components depend on no API"},
	{"component/*", []string{"component/internal", "component/instances", "component/resources", "stores", "proto", "internal"},
		"an API depends on no other API and no backend"},

	{"client", []string{"proto"}, "programs with the client must not need the server's dependencies"},
	{"cli", []string{"client", "proto"}, "the command line is a client"},
	{"daprd", []string{"proto"}, "the sidecar calls the server in another process"},
	{"examples", []string{"client", "component", "proto", "stores", "stores/memory"}, "examples use what users can use"},
	{"test", []string{"*", "*/*"}, "tests may import everything"},
}

// unitOf returns the unit of a folder: its first element, or its first two in stores and
// component, where each folder is a backend or an API.
func unitOf(folder string) string {
	elements := strings.Split(folder, "/")
	if len(elements) > 1 && (elements[0] == "stores" || elements[0] == "component") {
		return elements[0] + "/" + elements[1]
	}
	return elements[0]
}

// check returns an error if a package in one folder may not import one in another.
func check(folder, imported string) error {
	from, to := unitOf(folder), unitOf(imported)
	if from == to {
		return nil
	}
	i := slices.IndexFunc(rules, func(r rule) bool { return matches(r.unit, from) })
	if i < 0 {
		return fmt.Errorf("rules must have one for the folder %s", from)
	}
	if !slices.ContainsFunc(rules[i].imports, func(pattern string) bool { return matches(pattern, to) }) {
		return fmt.Errorf("%s must not import %s: %s", folder, imported, rules[i].reason)
	}
	return nil
}

func matches(pattern, unit string) bool {
	ok, err := path.Match(pattern, unit)
	return ok && err == nil
}

func TestImports(t *testing.T) {
	for file, imports := range imports(t) {
		folder := filepath.ToSlash(filepath.Dir(file))
		for _, imported := range imports {
			if err := check(folder, imported); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for _, row := range []struct {
		folder, imported string
		allowed          bool
	}{
		{".", "stores/all", true},
		{".", "stores/new", false},
		{".", "test/servers", false},
		{"stores", "stores/new", false},
		{"stores/all", "stores/new", true},
		{"stores/new", "stores", true},
		{"stores/new", "stores/internal/kit", true},
		{"stores/new", "stores/records/table", true},
		{"stores/new", "internal/kit", true},
		{"stores/new", "stores/redis", false},
		{"stores/new/sub", "stores/new", true},
		{"stores/new/sub", "stores/redis", false},
		{"stores/new", "component", false},
		{"stores/internal/kit", "stores/redis", false},
		{"stores/records/table", "stores/redis", false},
		{"internal/kit", "stores", false},
		{"component", "component/new", true},
		{"component", "stores/redis", false},
		{"component/new", "component/internal/observe", true},
		{"component/new", "component/rtm", false},
		{"component/new/sub", "component/new", true},
		{"component/new/sub", "component/rtm", false},
		{"component/new", "component", false},
		{"component/new", "stores/redis", false},
		{"component/new", "stores/all", false},
		{"component/new", "client", false},
		{"component/internal/observe", "component/new", false},
		{"component/instances", "component/new", false},
		{"client/rtm", "client", true},
		{"client/rtm", "proto/mortise/rtm/v1", true},
		{"client", "stores", false},
		{"client", "component/internal/observe", false},
		{"cli", "component", false},
		{"cli", "stores", false},
		{"proto/mortise/rtm/v1", "stores", false},
		{"daprd/pluggablelock", "stores", false},
		{"examples/fencedsql", "stores/redis", false},
		{"test/new", "stores/redis", true},
		{"new", "stores", false},
	} {
		if err := check(row.folder, row.imported); (err == nil) != row.allowed {
			t.Errorf("%s imports %s: got %v, allowed is %v", row.folder, row.imported, err, row.allowed)
		}
	}
}

// imports returns what each Go file of the repository, except tests, imports from it.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && name != "." {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range file.Imports {
			imported, _ := strconv.Unquote(i.Path.Value)
			if ours, ok := strings.CutPrefix(imported, module); ok {
				found[name] = append(found[name], ours)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 5 {
		t.Fatalf("found imports in %d files only", len(found))
	}
	return found
}

// within reports whether a folder is parent or below it.
func within(parent, folder string) bool {
	return folder == parent || strings.HasPrefix(folder, parent+"/")
}

// Package imports checks the rules of the house that the compiler does not know.
package imports

import (
	"go/parser"
	"go/token"
	"io/fs"
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

// rules say which folders may not import which. A row whose folder ends in "/*" is about
// each folder in it, and "other" stands for the folder's siblings.
var rules = []struct{ folder, mayNotImport, because string }{
	{"stores", "component", "a store knows no API"},
	{"stores/*", "other", "a backend knows no other backend"},
	{"stores", "stores/all", "only main, tests and APIs of other modules choose from all backends"},
	{"component/*", "stores/memory", "an API knows the contract, never a backend"},
	{"component/*", "stores/redis", "an API knows the contract, never a backend"},
	{"component/*", "an API", "no API imports another"},
	{"component/*", "stores/all", "main chooses the backends"},
	{"client", "stores", "a program that takes locks has no use for what keeps them"},
	{"client", "component", "a program that takes locks has no use for what serves them"},
	{"cli", "stores", "the command line is a client"},
	{"cli", "component", "the command line is a client"},
	{".", "test", "what we ship does not depend on tests"},
}

func TestFoldersImportWhatTheyMay(t *testing.T) {
	for file, imports := range imports(t) {
		folder := filepath.ToSlash(filepath.Dir(file))
		for _, imported := range imports {
			for _, rule := range rules {
				if applies(rule.folder, folder) && forbidden(rule.mayNotImport, folder, imported) {
					t.Errorf("%s imports %s: %s", file, imported, rule.because)
				}
			}
		}
	}
}

func applies(rule, folder string) bool {
	if parent, ok := strings.CutSuffix(rule, "/*"); ok {
		return strings.HasPrefix(folder, parent+"/") && folder != "stores/all"
	}
	return rule == "." && !strings.HasPrefix(folder, "test") || within(rule, folder) && folder != "stores/all"
}

// APIs are the folders of component/ that serve a protocol.
var apis = []string{"binding", "daprapi", "layotto", "locks", "lockstore", "rtm"}

func forbidden(rule, folder, imported string) bool {
	if rule == "an API" {
		return slices.ContainsFunc(apis, func(api string) bool {
			return within("component/"+api, imported) && !within("component/"+api, folder)
		})
	}
	if rule == "other" {
		return within("stores", imported) && imported != "stores" && imported != folder
	}
	return within(rule, imported)
}

func within(parent, folder string) bool {
	return folder == parent || strings.HasPrefix(folder, parent+"/")
}

// imports returns what each Go file of the main module, tests excepted, imports from the
// module.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if entry.IsDir() && (strings.HasPrefix(name, ".") && name != "." || name == "daprd") {
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
		t.Fatalf("only %d files were found", len(found))
	}
	return found
}

package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/mortise-lock/mortise/component"
)

const (
	root = "../.."
	apis = "docs/apis"
)

// read returns a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// files returns the paths of the files in a folder of the repository, and below it, with
// one of the endings.
func files(t *testing.T, folder string, endings ...string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && slices.Contains(endings, filepath.Ext(path)) {
			path, _ = filepath.Rel(root, path)
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: found %q, %v", folder, paths, err)
	}
	return paths
}

// texts returns README.md and all pages of docs/, by path.
func texts(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{"README.md": read(t, "README.md")}
	for _, path := range files(t, "docs", ".md") {
		all[path] = read(t, path)
	}
	return all
}

var (
	link    = regexp.MustCompile(`\]\(([^):]*)\)`) // to a place in the repository
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notID   = regexp.MustCompile(`[^\p{L}\p{N}\- ]`)
)

func TestLinks(t *testing.T) {
	all := texts(t)
	for path, text := range all {
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			file, id, _ := strings.Cut(match[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: %s: %v", path, match[1], err)
			} else if id != "" && !slices.Contains(ids(all[target]), id) {
				t.Errorf("%s: %s: no such heading", path, match[1])
			}
		}
	}
}

// ids returns the anchors of a page's headings.
func ids(page string) (all []string) {
	for _, h := range heading.FindAllStringSubmatch(page, -1) {
		all = append(all, strings.ReplaceAll(notID.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
	}
	return all
}

func TestReadme_Links(t *testing.T) {
	readme := read(t, "README.md")
	for _, page := range files(t, "docs", ".md") {
		if !strings.Contains(readme, "("+page+")") {
			t.Errorf("README.md must have a link to %s", page)
		}
	}
}

func TestPages_Parse(t *testing.T) {
	for _, page := range files(t, apis, ".md") {
		if _, err := Parse(read(t, page)); err != nil {
			t.Errorf("%s: %v", page, err)
		}
	}
}

// code matches an error code: in capitals and backticks, with or without RTM's number
// before it.
var code = regexp.MustCompile("`(?:-\\d+ )?([A-Z]+_[A-Z_]+|TIMEOUT|CANCELLED|DEADLOCK|AMBIGUOUS|UNSUPPORTED|UNAUTHENTICATED)`")

func TestPages_Errors(t *testing.T) {
	var sources strings.Builder
	for _, path := range append(files(t, "component", ".go"), files(t, "proto", ".proto")...) {
		sources.WriteString(read(t, path))
	}
	for _, page := range files(t, apis, ".md") {
		_, section, found := strings.Cut(read(t, page), "\n## Errors\n")
		if !found {
			t.Errorf("%s must have a section Errors", page)
		}
		for _, match := range code.FindAllStringSubmatch(section, -1) {
			known := regexp.MustCompile(`\b` + match[1] + `\b`).MatchString(sources.String())
			// Another program's, in an example.
			shown := strings.Contains(section, fmt.Sprintf(`"errorCode":%q`, match[1]))
			if !known && !shown {
				t.Errorf("%s: no source contains %s", page, match[1])
			}
		}
	}
}

func TestReference_flags(t *testing.T) {
	reference := read(t, "docs/reference.md")
	flags := pflag.NewFlagSet("mortise", pflag.ContinueOnError)
	new(component.Options).AddFlags(flags, func(string) string { return "" })
	flags.VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(reference, "`--"+f.Name+"`") {
			t.Errorf("docs/reference.md does not describe --%s", f.Name)
		}
	})
}

package examples

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var block = regexp.MustCompile("(?ms)^```(go|sql|lua)\n(.*?)^```$")

func TestFencingSnippets(t *testing.T) {
	doc, err := os.ReadFile("../docs/fencing.md")
	if err != nil {
		t.Fatal(err)
	}
	code := sources(t)
	snippets := block.FindAllStringSubmatch(string(doc), -1)
	if len(snippets) == 0 {
		t.Error("docs/fencing.md has no snippet")
	}
	for _, snippet := range snippets {
		if !slices.ContainsFunc(code, func(file string) bool { return strings.Contains(file, snippet[2]) }) {
			t.Errorf("not in a file of the examples:\n%s", snippet[2])
		}
	}
}

// sources returns the text of each file of the examples.
func sources(t *testing.T) (texts []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !slices.Contains([]string{".go", ".lua"}, filepath.Ext(path)) {
			return err
		}
		text, err := os.ReadFile(path)
		texts = append(texts, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

package client_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	snippet = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	indent  = regexp.MustCompile("(?m)^\t")
)

func TestReadmeSnippets(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var code string
	for _, path := range []string{"example_test.go", "rtm/example_test.go"} {
		examples, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		code += indent.ReplaceAllString(string(examples), "")
	}
	snippets := snippet.FindAllStringSubmatch(string(readme), -1)
	if len(snippets) == 0 {
		t.Error("README.md has no Go snippet")
	}
	for _, s := range snippets {
		if !strings.Contains(code, s[1]) {
			t.Errorf("not in an example:\n%s", s[1])
		}
	}
}

package main

import (
	"slices"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	wide := strings.Repeat("wide ", 17) // 85 columns
	for _, row := range []struct {
		name, file, source string
		want               []string
	}{
		{"clean Go", "a.go", "package a // Package a.\n", nil},
		{"a word in a Go comment", "a.go", "package a\n\n// " + `Nobody` + " holds it.\n", []string{`a.go:3: the word "Nobody"`}},
		{"in a block comment", "a.go", "package a\n\n/* It is\ntold so. */\n", []string{`a.go:4: the word "told"`}},
		{"in a Go string", "a.go", "package a\n\nvar s = \"" + `somebody` + " holds it\"\n", []string{`a.go:3: the word "somebody"`}},
		{"in a raw string", "a.go", "package a\n\nvar s = `" + `somebody` + " holds it`\n", nil},
		{"in an identifier", "a.go", "package a\n\nvar " + `told` + " int\n", nil},
		{"within a longer word", "a.go", "package a // foretold history\n", nil},
		{"a person in a comment", "a.go", "package a // he waits\n", []string{`a.go:1: the word "he"`}},
		{"a person in a Go string", "a.go", "package a\n\nvar s = \"he waits\"\n", nil},
		{"a wide Go comment", "a.go", "package a\n\n\t// " + wide + "\n",
			[]string{"a.go:3: a line with a comment must be at most 90 columns wide, is 92"}},
		{"a wide Go line without a comment", "a.go", "package a\n\nvar s = \"" + wide + "\"\n", nil},
		{"Lua", "a.lua", "-- " + `gives back` + " the lock\nlocal s = '" + `gives back` + "'\n", []string{`a.lua:1: the word "gives back"`}},
		{"proto", "a.proto", "string s = 1; // " + `shall` + " be set\n", []string{`a.proto:1: the word "shall"`}},
		{"YAML", "a.yaml", "a: " + `told` + " # " + `told` + "\nurl: http://" + `told` + "#" + `told` + "\n", []string{`a.yaml:1: the word "told"`}},
		{"shell", "a.sh", "echo " + `told` + "\n# " + `lest` + " it fails\n", []string{`a.sh:2: the word "lest"`}},
		{"Markdown", "a.md", "" + `Somebody` + ".\n```\nnobody\n```\n" + wide + "wide\n", []string{`a.md:1: the word "Somebody"`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := check(textsOf(row.file, []byte(row.source))); !slices.Equal(got, row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestReadAll(t *testing.T) {
	t.Chdir("../..")
	texts, err := readAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{".go", goString, ".lua", ".proto", ".md", ".yaml", ".sh"} {
		if !slices.ContainsFunc(texts, func(t text) bool { return t.kind() == kind }) {
			t.Errorf("found no text of kind %q", kind)
		}
	}
}

package main

import (
	"bufio"
	"bytes"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// text is a line of English in a file.
type text struct {
	file    string
	line    int
	words   string
	comment bool // and not a string literal or prose
	width   int  // columns of the whole line, a tab being four
}

// readAll returns the texts of the files below the current folder that git knows, except
// generated Go.
func readAll() (texts []text, err error) {
	patterns := []string{"*.go", "*.lua", "*.proto", "*.md", "*.yaml", "*.yml", "*.sh", "*Makefile"}
	list, err := exec.Command("git", append([]string{"ls-files"}, patterns...)...).Output()
	if err != nil {
		return nil, err
	}
	for _, file := range strings.Fields(string(list)) {
		if strings.HasSuffix(file, ".pb.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		texts = append(texts, textsOf(file, source)...)
	}
	return texts, nil
}

func textsOf(file string, source []byte) []text {
	switch filepath.Ext(file) {
	case ".go":
		return goTexts(file, source)
	case ".md":
		return prose(file, source)
	case ".lua":
		return comments(file, source, "--")
	case ".proto":
		return comments(file, source, "//")
	}
	return comments(file, source, "#")
}

// goTexts returns the comments, and the interpreted string literals that have a space.
func goTexts(file string, source []byte) (texts []text) {
	files := token.NewFileSet()
	f := files.AddFile(file, -1, len(source))
	var s scanner.Scanner
	s.Init(f, source, nil, scanner.ScanComments)
	lines := bytes.Split(source, []byte("\n"))
	for {
		pos, kind, literal := s.Scan()
		switch {
		case kind == token.EOF:
			return texts
		case kind == token.COMMENT, kind == token.STRING && literal[0] == '"' && strings.Contains(literal, " "):
			first := f.Position(pos).Line
			for i, line := range strings.Split(literal, "\n") {
				texts = append(texts, text{file, first + i, line, kind == token.COMMENT, width(lines[first+i-1])})
			}
		}
	}
}

// comments returns the comments from the mark to the end of a line. The mark begins the
// line or follows white space.
func comments(file string, source []byte, mark string) (texts []text) {
	lines := bufio.NewScanner(bytes.NewReader(source))
	for n := 1; lines.Scan(); n++ {
		before, comment, found := strings.Cut(lines.Text(), mark)
		if found && strings.TrimRight(before, " \t") != before || found && before == "" {
			texts = append(texts, text{file, n, comment, true, width(lines.Bytes())})
		}
	}
	return texts
}

// prose returns the lines of Markdown outside blocks of code.
func prose(file string, source []byte) (texts []text) {
	code := false
	lines := bufio.NewScanner(bytes.NewReader(source))
	for n := 1; lines.Scan(); n++ {
		if strings.HasPrefix(strings.TrimSpace(lines.Text()), "```") {
			code = !code
		} else if !code {
			texts = append(texts, text{file: file, line: n, words: lines.Text()})
		}
	}
	return texts
}

// width returns the columns of a line, a tab being four.
func width(line []byte) int {
	return utf8.RuneCount(line) + 3*bytes.Count(line, []byte("\t"))
}

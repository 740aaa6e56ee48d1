// Package docs parses pages of docs/, so that tests can run their steps and compare the
// results.
package docs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Step is one step of a page. Every fenced block of a page belongs to one:
//
//	sh           a command; a json or text block right after it is its output
//	sh NAME      a command that keeps running, in a terminal of that name
//	text NAME    output in that terminal: parts of its lines, in this order
//	go, yaml...  a file, whose name is in a comment in its first line
type Step struct {
	Kind   Kind
	Line   int    // the first line in the page
	Name   string // of the file or the terminal
	Text   string // of the file, the command, or the output
	Answer Answer // of a Command
}

// Kind is the kind of a step.
type Kind string

// The kinds of steps.
const (
	File     Kind = "file"
	Command  Kind = "command"
	Terminal Kind = "terminal"
	Appears  Kind = "appears"
)

var (
	block    = regexp.MustCompile("(?ms)^```(\\w+)(?: (\\w+))?\n(.*?)^```$")
	fence    = regexp.MustCompile("(?m)^```")
	fileName = regexp.MustCompile(`^(?://|#) ([\w./-]+\.\w+)\n`)
)

// Parse returns the steps of a page. It returns an error if a block belongs to no step,
// or if no step has output.
func Parse(page string) ([]Step, error) {
	var steps []Step
	seen := false
	blocks := block.FindAllStringSubmatchIndex(page, -1)
	if 2*len(blocks) != len(fence.FindAllString(page, -1)) {
		return nil, errors.New("a block must have a language and an end")
	}
	for _, at := range blocks {
		part := func(i int) string { return page[max(at[2*i], 0):max(at[2*i+1], 0)] }
		language, name, text := part(1), part(2), part(3)
		line := 1 + strings.Count(page[:at[0]], "\n")
		seen = seen || language == "text" || language == "json"
		if answersLast(language, name, steps) {
			steps[len(steps)-1].Answer = Answer{JSON: language == "json", Text: text}
			continue
		}
		step, err := newStep(language, name, text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		step.Line = line
		steps = append(steps, step)
	}
	if !seen {
		return nil, errors.New("a page must have a block with output")
	}
	return steps, nil
}

// answersLast reports whether the block is the output of the last step.
func answersLast(language, name string, steps []Step) bool {
	if name != "" || language != "text" && language != "json" || len(steps) == 0 {
		return false
	}
	last := steps[len(steps)-1]
	return last.Kind == Command && last.Answer == Answer{}
}

// newStep returns the step of a block.
func newStep(language, name, text string) (Step, error) {
	switch {
	case language == "sh" && name == "":
		return Step{Kind: Command, Text: text}, nil
	case language == "sh":
		return Step{Kind: Terminal, Name: name, Text: text}, nil
	case language == "text" && name != "":
		return Step{Kind: Appears, Name: name, Text: text}, nil
	}
	if file := fileName.FindStringSubmatch(text); file != nil && name == "" {
		return Step{Kind: File, Name: file[1], Text: text}, nil
	}
	return Step{}, fmt.Errorf("the %s block must be the output of a command, or a file with its name in the first line", language)
}

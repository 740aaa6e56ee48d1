// Package docs reads pages of docs/, so that tests can do what a page says and see what
// it promises.
package docs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Step is one thing that a page says: something to do, or something to see. Every fenced
// block of a page belongs to one:
//
//	sh           a command; a json or text block right behind it is what it prints, else it prints nothing
//	sh NAME      a command that goes on, in a terminal of that name
//	text NAME    what appears in that terminal: parts of its lines, in this order
//	go, yaml...  a file, whose name is in a comment in its first line
type Step struct {
	Kind   Kind
	Line   int    // of the page, where it begins
	Name   string // of the file or the terminal
	Text   string // of the file, the command, or what appears
	Answer Answer // of a Command
}

// Kind is what to do.
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

// Parse returns the steps of a page. It is an error if a block belongs to none, or if nothing is done or seen.
func Parse(page string) ([]Step, error) {
	var steps []Step
	seen := false
	blocks := block.FindAllStringSubmatchIndex(page, -1)
	if 2*len(blocks) != len(fence.FindAllString(page, -1)) {
		return nil, errors.New("a fence has no language, or no end")
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
		return nil, errors.New("nothing is to be seen")
	}
	return steps, nil
}

// answersLast tells whether the block is what the last step prints.
func answersLast(language, name string, steps []Step) bool {
	if name != "" || language != "text" && language != "json" || len(steps) == 0 {
		return false
	}
	last := steps[len(steps)-1]
	return last.Kind == Command && last.Answer == Answer{}
}

// newStep returns the step that a block begins.
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
	return Step{}, fmt.Errorf("the %s block is no answer, and no file with its name in the first line", language)
}

// Command language checks the English of the repository: words that standard technical
// English replaces, pronouns of persons for software, and the width of comments. Its
// findings name the file and the line; CONTRIBUTING.md has the rules. With -figures it
// prints how often they occur.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// maxWidth is the largest number of columns of a line with a comment, a tab being four.
const maxWidth = 90

// A rule is a pattern that no text may match.
type rule struct {
	name    string
	pattern *regexp.Regexp
	exempt  func(text) bool // texts that the rule does not apply to; may be nil
}

var rules = []rule{
	{"tell", regexp.MustCompile(`(?i)\b(tells?|told|telling)\b`), nil},
	{"nobody", regexp.MustCompile(`(?i)\b(nobody|somebody)\b`), nil},
	{"he", regexp.MustCompile(`\b([Hh]e|[Hh]is|[Hh]im|[Ss]he|[Hh]er)\b`), func(t text) bool { return t.kind() == goString }},
	{"other", regexp.MustCompile(`(?i)\b(lest|anew|shall|of whom|(gives?|gave|giving|given) back|looks? after|is away|` +
		`comes? by|stands? in|by itself)\b`), nil},
}

func main() {
	figures := flag.Bool("figures", false, "print figures for each kind of text instead of findings")
	flag.Parse()
	texts, err := readAll()
	if err != nil {
		fmt.Fprintln(os.Stderr, "language:", err)
		os.Exit(2)
	}
	if *figures {
		printFigures(texts)
		return
	}
	found := check(texts)
	for _, finding := range found {
		fmt.Println(finding)
	}
	if len(found) > 0 {
		os.Exit(1)
	}
}

// check returns the findings in the order of the texts.
func check(texts []text) (findings []string) {
	for _, t := range texts {
		for _, r := range rules {
			if word := r.find(t); word != "" {
				findings = append(findings, fmt.Sprintf("%s:%d: the word %q", t.file, t.line, word))
			}
		}
		if t.tooWide(maxWidth) {
			findings = append(findings, fmt.Sprintf("%s:%d: a line with a comment must be at most %d columns wide, is %d",
				t.file, t.line, maxWidth, t.width))
		}
	}
	return findings
}

// find returns the first word in t that breaks the rule, or "".
func (r rule) find(t text) string {
	if r.exempt != nil && r.exempt(t) {
		return ""
	}
	return r.pattern.FindString(t.words)
}

// goString is the kind of string literals in Go; other kinds are file name extensions.
const goString = ".go strings"

// kind returns the class of texts for which figures are printed.
func (t text) kind() string {
	if ext := filepath.Ext(t.file); ext != ".go" || t.comment {
		return ext
	}
	return goString
}

func (t text) tooWide(columns int) bool { return t.comment && t.width > columns }

// printFigures prints for each kind of text how many words in 1,000 break each rule, and
// the share of lines with comments that are wide.
func printFigures(texts []text) {
	byKind := map[string][]text{}
	for _, t := range texts {
		byKind[t.kind()] = append(byKind[t.kind()], t)
	}
	fmt.Printf("%-12s %6s %6s", "kind", "lines", "words")
	for _, r := range rules {
		fmt.Printf(" %12s", r.name+"/1000")
	}
	fmt.Printf(" %8s %8s\n", ">90", ">100")
	for _, kind := range []string{".go", goString, ".lua", ".proto", ".md", ".yaml", ".sh"} {
		fmt.Println(figures(kind, byKind[kind]))
	}
}

// figures returns a line of the table of printFigures.
func figures(kind string, texts []text) string {
	var words, wide, wider int
	found := make([]int, len(rules))
	for _, t := range texts {
		words += len(strings.Fields(t.words))
		for i, r := range rules {
			if r.exempt == nil || !r.exempt(t) {
				found[i] += len(r.pattern.FindAllString(t.words, -1))
			}
		}
		if t.tooWide(90) {
			wide++
		}
		if t.tooWide(100) {
			wider++
		}
	}
	line := fmt.Sprintf("%-12s %6d %6d", kind, len(texts), words)
	for _, n := range found {
		line += fmt.Sprintf(" %12.1f", 1000*float64(n)/float64(max(words, 1)))
	}
	share := func(n int) float64 { return 100 * float64(n) / float64(max(len(texts), 1)) }
	return line + fmt.Sprintf(" %7.1f%% %7.1f%%", share(wide), share(wider))
}

package docs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
)

// Answer is what a page says that a command prints.
type Answer struct {
	JSON bool // values of JSON, one after the other; how they are written does not matter
	Text string
}

// masks are what is another each time, and what both sides have in its place.
var masks = []struct {
	is   *regexp.Regexp
	mask string
}{
	{regexp.MustCompile(`\b[12]\d{15}\b`), "1000000000000000"}, // a token, or a revision
	{regexp.MustCompile(`\b\d+\.\d+s\b`), "0.5s"},              // what is left of a TTL
	{regexp.MustCompile(`\b(\d+s +)\d+s\b`), "${1}0s"},         // the same, beside the TTL in a table
}

// Mask puts the same in the place of all tokens, and of all durations that depend on when
// one asks.
func Mask(text string) string {
	for _, m := range masks {
		text = m.is.ReplaceAllString(text, m.mask)
	}
	return text
}

// Check returns an error if what a command has printed is not the answer, but for what is
// masked.
func (a Answer) Check(printed string) error {
	want, got := strings.TrimSpace(Mask(a.Text)), strings.TrimSpace(Mask(printed))
	if !a.JSON {
		if got != want {
			return fmt.Errorf("it printed\n%s\nwant\n%s", printed, a.Text)
		}
		return nil
	}
	wants, err := values(want)
	if err != nil {
		return fmt.Errorf("the page's JSON: %w", err)
	}
	if gots, err := values(got); err != nil || !reflect.DeepEqual(gots, wants) {
		return fmt.Errorf("it printed\n%s\nwant the JSON\n%s", printed, a.Text)
	}
	return nil
}

// values are the values of JSON in a text.
func values(text string) (all []any, err error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	for {
		var next any
		switch err := decoder.Decode(&next); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		all = append(all, next)
	}
}

// Missing returns the first line of want that is part of no line of said, or only of
// lines before those of the lines before it, or "" if there is none.
func Missing(want, said string) string {
	lines := strings.Split(Mask(said), "\n")
	for line := range strings.Lines(want) {
		part := strings.TrimSpace(Mask(line))
		for len(lines) > 0 && !strings.Contains(lines[0], part) {
			lines = lines[1:]
		}
		if len(lines) == 0 {
			return strings.TrimSpace(line)
		}
		lines = lines[1:]
	}
	return ""
}

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

// Answer is the output of a command, as a page shows it.
type Answer struct {
	JSON bool // a sequence of JSON values, whose formatting is ignored
	Text string
}

// masks are patterns of text that differs each time, and their replacements.
var masks = []struct {
	pattern     *regexp.Regexp
	replacement string
}{
	{regexp.MustCompile(`\b[12]\d{15}\b`), "1000000000000000"}, // a token, or a revision
	{regexp.MustCompile(`\b\d+\.\d+s\b`), "0.5s"},              // a remaining TTL
	// The same, beside the TTL in a table.
	{regexp.MustCompile(`\b(\d+s +)\d+s\b`), "${1}0s"},
}

// Mask replaces all tokens, and all remaining durations, by constants.
func Mask(text string) string {
	for _, m := range masks {
		text = m.pattern.ReplaceAllString(text, m.replacement)
	}
	return text
}

// Check returns an error unless the printed output equals the answer, after both are
// masked.
func (a Answer) Check(printed string) error {
	want, got := strings.TrimSpace(Mask(a.Text)), strings.TrimSpace(Mask(printed))
	if !a.JSON {
		if got != want {
			return fmt.Errorf("got\n%s\nwant\n%s", printed, a.Text)
		}
		return nil
	}
	wants, err := values(want)
	if err != nil {
		return fmt.Errorf("JSON of the page: %w", err)
	}
	if gots, err := values(got); err != nil || !reflect.DeepEqual(gots, wants) {
		return fmt.Errorf("got\n%s\nwant the JSON\n%s", printed, a.Text)
	}
	return nil
}

// values returns the JSON values in a text.
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

// Missing returns the first line of want that is not contained in a line of output after
// the match of the previous line, or "" if there is none.
func Missing(want, output string) string {
	lines := strings.Split(Mask(output), "\n")
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

package docs

import (
	"slices"
	"strings"
	"testing"
)

// fenced returns a page of blocks: the info strings and the contents in turn.
func fenced(blocks ...string) string {
	var b strings.Builder
	for block := range slices.Chunk(blocks, 2) {
		b.WriteString("Words.\n```" + block[0] + "\n" + block[1] + "\n```\n")
	}
	return b.String()
}

func TestParse(t *testing.T) {
	got, err := Parse(fenced(
		"yaml", "# a/b.yaml\nc: d",
		"sh server", "serve",
		"text server", "ready",
		"sh", "echo 1",
		"json", "1",
		"sh", "true",
		"sh", "echo 2",
		"text", "2",
	))
	if err != nil {
		t.Fatal(err)
	}
	want := []Step{
		{Kind: File, Line: 2, Name: "a/b.yaml", Text: "# a/b.yaml\nc: d\n"},
		{Kind: Terminal, Line: 7, Name: "server", Text: "serve\n"},
		{Kind: Appears, Line: 11, Name: "server", Text: "ready\n"},
		{Kind: Command, Line: 15, Text: "echo 1\n", Answer: Answer{JSON: true, Text: "1\n"}},
		{Kind: Command, Line: 23, Text: "true\n"},
		{Kind: Command, Line: 27, Text: "echo 2\n", Answer: Answer{Text: "2\n"}},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestParse_Invalid(t *testing.T) {
	for _, row := range []struct{ name, page, want string }{
		{"code without a file's name", fenced("go", "x := 1", "sh", "true", "text", ""), "line 2: the go block"},
		{"an output without a command", fenced("text", "hello"), "line 2: the text block"},
		{"an output of a file", fenced("go", "// a.go\nx", "text", "hello"), "line 7: the text block"},
		{"a second output", fenced("sh", "true", "text", "a", "text", "b"), "line 10: the text block"},
		{"a block without a language", fenced("", "x"), "must have a language"},
		{"a block without an end", "```sh\ntrue\n", "and an end"},
		{"a page without output", fenced("sh", "true"), "block with output"},
		{"a page without blocks", "Words.\n", "block with output"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := Parse(row.page); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestAnswer_Check(t *testing.T) {
	for _, row := range []struct {
		name    string
		json    bool
		page    string
		printed string
		good    bool
	}{
		{"equal text", false, "hello\n", "hello", true},
		{"other text", false, "hello\n", "hallo", false},
		{"more text", false, "hello\n", "hello\nyou", false},
		{"nothing", false, "hello\n", "", false},
		{"an output that the page does not have", false, "", "oops", false},
		{"another token", false, "token 1795180459319807", "token 1795204446630964", true},
		{"no token", false, "token 1795180459319807", "token 0", false},
		{"another time", false, "29.999s left", "29.1s left", true},
		{"another TTL", false, "TTL 30s", "TTL 31s", false},
		{"another time beside the TTL", false, "30s  30s", "30s  29s", true},
		{"another TTL beside the time", false, "30s  30s", "31s  30s", false},
		{"JSON with another format", true, `{"a": 1, "b": []}`, "{\n\"b\":[ ],\"a\":1}", true},
		{"JSON with another value", true, `{"a": 1}`, `{"a": 2}`, false},
		{"JSON with one more member", true, `{"a": 1}`, `{"a": 1, "b": 2}`, false},
		{"several values", true, "{\"a\": 1}\n{\"b\": 2}", `{"a":1}{"b":2}`, true},
		{"too few values", true, "{\"a\": 1}\n{\"b\": 2}", `{"a":1}`, false},
		{"a token in JSON", true, `{"token": 1795180459319807}`, `{"token":1795204446630964}`, true},
		{"a token that became a string", true, `{"token": 1795180459319807}`, `{"token":"1795204446630964"}`, false},
		{"invalid JSON", true, "{}", "oops", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := Answer{JSON: row.json, Text: row.page}.Check(row.printed)
			if (err == nil) != row.good {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	const output = "level=info msg=\"Listening on 127.0.0.1:1\"\nlevel=info msg=\"Ready on a\"\nREADY 1795180459319807\n"
	for _, row := range []struct{ name, want, missing string }{
		{"parts of lines", "Listening on\nReady on a\n", ""},
		{"the last line", "READY 1795204446630964", ""},
		{"in another order", "Ready on a\nListening on\n", "Listening on"},
		{"one line for two parts", "Ready\nReady\n", "Ready"},
		{"a missing line", "Listening\nStopped\n", "Stopped"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := Missing(row.want, output); got != row.missing {
				t.Errorf("got %q, want %q", got, row.missing)
			}
		})
	}
}

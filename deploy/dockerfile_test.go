package deploy

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// instruction is a line of the Dockerfile: its verb and the rest.
type instruction struct{ verb, rest string }

// stage is the part of the Dockerfile that starts with a FROM.
type stage struct {
	base  string
	steps []instruction
}

var (
	continued = regexp.MustCompile(`\\\n`)
	comment   = regexp.MustCompile(`(?m)^\s*#.*\n`)
	spaces    = regexp.MustCompile(` {2,}`)
)

// dockerfile parses the stages, by name. It supports the part of the format that our file
// uses.
func dockerfile(t *testing.T) map[string]*stage {
	t.Helper()
	text := comment.ReplaceAllString(string(read(t, "../Dockerfile")), "")
	text = spaces.ReplaceAllString(continued.ReplaceAllString(text, " "), " ")
	stages := map[string]*stage{}
	var current *stage
	for line := range strings.Lines(text) {
		verb, rest, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		if verb == "FROM" {
			base, name, _ := strings.Cut(strings.TrimPrefix(rest, "--platform=$BUILDPLATFORM "), " AS ")
			current = &stage{base: base}
			stages[name] = current
			continue
		}
		if current == nil {
			t.Fatalf("Dockerfile: %s before the first FROM", verb)
		}
		current.steps = append(current.steps, instruction{verb, rest})
	}
	return stages
}

// all returns the arguments of the stage's steps with the verb, in order.
func (s *stage) all(verb string) []string {
	var list []string
	for _, step := range s.steps {
		if step.verb == verb {
			list = append(list, step.rest)
		}
	}
	return list
}

// commands returns the shell commands of the stage's RUN steps, without their cache
// mounts.
func (s *stage) commands() []string {
	list := s.all("RUN")
	for i, command := range list {
		for strings.HasPrefix(command, "--mount=type=cache,") {
			_, command, _ = strings.Cut(command, " ")
		}
		list[i] = command
	}
	return list
}

// arguments returns the stage's ARGs that have a default, as environment variables.
func (s *stage) arguments() []string {
	var list []string
	for _, line := range s.all("ARG") {
		for arg := range strings.FieldsSeq(line) {
			if strings.Contains(arg, "=") {
				list = append(list, arg)
			}
		}
	}
	return list
}

// buildContext copies the files that .dockerignore includes to the folder, so that the
// build sees the same files as Docker's.
func buildContext(t *testing.T, to string) {
	t.Helper()
	var kept, dropped []string
	for line := range strings.Lines(string(read(t, "../.dockerignore"))) {
		line = strings.TrimSpace(line)
		switch name, keep := strings.CutPrefix(line, "!"); {
		case keep:
			kept = append(kept, name)
		case line != "" && line != "*" && !strings.HasPrefix(line, "#"):
			dropped = append(dropped, line)
		}
	}
	for _, name := range kept {
		if err := copyTree(filepath.Join("..", name), filepath.Join(to, name), name, dropped); err != nil {
			t.Fatal(err)
		}
	}
}

// copyTree copies a file, or a folder with its contents, except what a pattern of
// .dockerignore excludes.
func copyTree(from, to, name string, dropped []string) error {
	return filepath.WalkDir(from, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, file)
		switch {
		case err != nil:
			return err
		case ignored(path.Join(name, filepath.ToSlash(rel)), dropped) && entry.IsDir():
			return filepath.SkipDir
		case ignored(path.Join(name, filepath.ToSlash(rel)), dropped):
			return nil
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return copyFile(file, filepath.Join(to, rel))
	})
}

// ignored reports whether a pattern matches the whole path, or, if it starts with **/,
// the last element.
func ignored(name string, patterns []string) bool {
	for _, pattern := range patterns {
		subject := name
		if rest, anywhere := strings.CutPrefix(pattern, "**/"); anywhere {
			pattern, subject = rest, path.Base(name)
		}
		if matched, _ := path.Match(pattern, subject); matched {
			return true
		}
	}
	return false
}

// copyFile copies a file with its permissions and creates its parent folders.
func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}

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

// instruction is a line of the Dockerfile: what to do, and with what.
type instruction struct{ verb, rest string }

// stage is the part of the Dockerfile that begins with a FROM.
type stage struct {
	base  string
	steps []instruction
}

var (
	continued = regexp.MustCompile(`\\\n`)
	comment   = regexp.MustCompile(`(?m)^\s*#.*\n`)
	spaces    = regexp.MustCompile(` {2,}`)
)

// dockerfile reads the stages by name. It knows of the format what our file uses.
func dockerfile(t *testing.T) map[string]*stage {
	t.Helper()
	text := comment.ReplaceAllString(string(read(t, "../Dockerfile")), "")
	text = spaces.ReplaceAllString(continued.ReplaceAllString(text, " "), " ")
	stages := map[string]*stage{}
	var now *stage
	for line := range strings.Lines(text) {
		verb, rest, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		if verb == "FROM" {
			base, name, _ := strings.Cut(strings.TrimPrefix(rest, "--platform=$BUILDPLATFORM "), " AS ")
			now = &stage{base: base}
			stages[name] = now
			continue
		}
		if now == nil {
			t.Fatalf("Dockerfile: %s before the first FROM", verb)
		}
		now.steps = append(now.steps, instruction{verb, rest})
	}
	return stages
}

// all are what the stage gives to the steps of that verb, in order.
func (s *stage) all(verb string) []string {
	var list []string
	for _, step := range s.steps {
		if step.verb == verb {
			list = append(list, step.rest)
		}
	}
	return list
}

// commands are the shell commands of the stage's RUN steps. Mounts are caches only, and
// left out.
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

// arguments are the stage's ARGs that have a default, as an environment.
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

// buildContext copies what .dockerignore lets through to the folder, so that the build
// sees what Docker would let it see.
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

// copyTree copies a file, or a folder with all in it, but for what a pattern of
// .dockerignore drops.
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

// ignored tells whether a pattern matches: the whole path, or with **/ in front the last
// element.
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

// copyFile copies a file with its permissions and makes the folders above it.
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

package redis

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// luaPaths returns the paths of all Lua files.
func luaPaths(t *testing.T) []string {
	t.Helper()
	var paths []string
	err := fs.WalkDir(luaFiles, "lua", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// scriptNames returns the names of the scripts, which are the files beside lua/lib.
func scriptNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, p := range luaPaths(t) {
		if path.Dir(p) == "lua" {
			names = append(names, strings.TrimSuffix(path.Base(p), ".lua"))
		}
	}
	return names
}

func TestScriptError(t *testing.T) {
	t.Parallel()
	known := map[int64]error{
		notHeld: stores.ErrNotHeld, notOwner: stores.ErrNotOwner, deadlock: stores.ErrDeadlock, hasLeft: errHasLeft,
		notDeclared: stores.ErrNotDeclared, gaveUp: stores.ErrGaveUp, repeated: stores.ErrRepeated,
		alreadyDeclared: stores.ErrDeclared, groupFull: stores.ErrLimit, notLock: stores.ErrNotLock,
	}
	for answer := int64(-20); answer < 0; answer++ {
		err := scriptError(answer)
		if want, ok := known[answer]; ok && !errors.Is(err, want) {
			t.Errorf("answer %d: got %v, want %v", answer, err, want)
		} else if err == nil || !ok && !strings.Contains(err.Error(), fmt.Sprint("got ", answer)) {
			t.Errorf("the unknown answer %d: got %v, want an error with the number", answer, err)
		}
	}
	for _, answer := range []int64{0, 1, 1 << 52} {
		if err := scriptError(answer); err != nil {
			t.Errorf("answer %d: got %v, want nil", answer, err)
		}
	}
}

func TestScript_Includes(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, name := range scriptNames(t) {
		assemble("lua/"+name+".lua", used)
		if text := assemble("lua/"+name+".lua", map[string]bool{}); strings.Contains(text, "-- include") {
			t.Errorf("%s: an include line must be \"-- include NAME\", got\n%s", name, text)
		}
	}
	for _, p := range luaPaths(t) {
		if path.Dir(p) == "lua/lib" && !used[strings.TrimSuffix(path.Base(p), ".lua")] {
			t.Errorf("%s must be included by a script", p)
		}
	}
}

func TestScript_Load(t *testing.T) {
	t.Parallel()
	client := servers.StartRedis(t).Client()
	for _, name := range scriptNames(t) {
		t.Run(name, func(t *testing.T) {
			script := loadScript(name)
			if hash, err := script.Load(t.Context(), client).Result(); err != nil || hash != script.Hash() {
				t.Errorf("got hash %q, %v, want %q", hash, err, script.Hash())
			}
		})
	}
}

func TestScript_Lint(t *testing.T) {
	t.Parallel()
	used := map[string]bool{} // the names that a script uses
	for _, name := range scriptNames(t) {
		findings, topLevel := lintLua(name, assemble("lua/"+name+".lua", map[string]bool{}))
		for _, finding := range findings {
			t.Error(finding)
		}
		for variable := range definedIn(t, "lua/"+name+".lua") {
			if !topLevel[variable] {
				t.Errorf("%s: %s is not used", name, variable)
			}
		}
		for variable, ok := range topLevel {
			used[variable] = used[variable] || ok
		}
	}
	for _, p := range luaPaths(t) {
		for variable := range definedIn(t, p) {
			if !used[variable] {
				t.Errorf("%s: no script uses %s", p, variable)
			}
		}
	}
}

// definedIn returns the variables that a file defines at its top level.
func definedIn(t *testing.T, path string) map[string]bool {
	t.Helper()
	text, err := luaFiles.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, topLevel := lintLua(path, string(text))
	return topLevel
}

// TestLintLua checks that the linter finds what it is for.
func TestLintLua(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, text, want string }{
		{"accepts a script", "local function f(n) return n > 0 and f(n - 1) end\nreturn f(#KEYS)", ""},
		{"accepts an unused library function", "local function f() end\nreturn 0", ""},
		{"finds an undefined name", "return redis.call('GET', KEY[1])", "1: KEY is not defined"},
		{"finds a call before the definition", "local function f() return g() end\nlocal function g() return f() end\nreturn g()", "1: g is not defined"},
		{"finds a global assignment", "n = 1\nreturn 0", "1: n is a global variable"},
		{"finds a global function", "function f() end\nreturn 0", "1: f is a global variable"},
		{"finds a name beyond its block", "if KEYS then local n = 1; redis.log(n) end\nreturn n", "2: n is not defined"},
		{"finds a loop variable beyond its loop", "for i = 1, 2 do redis.log(i) end\nreturn i", "2: i is not defined"},
		{"finds an unused variable", "local function f() local n = 1 end\nreturn f()", "1: n is not used"},
		{"finds an unused parameter", "local function f(n) end\nreturn f()", "1: n is not used"},
		{"finds a redefinition", "local n = 1\nlocal n = n\nreturn n", "2: n is defined twice"},
	} {
		t.Run(row.name, func(t *testing.T) {
			findings, _ := lintLua("test", row.text)
			if got := strings.Join(findings, "; "); got != strings.TrimSuffix("test:"+row.want, "test:") {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

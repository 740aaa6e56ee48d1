// The pages of docs/apis, done as a reader would do what they say.
package e2e

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/test/docs"
)

// pagesWithStockDaprd are those whose daprd is Dapr's own; on the others it is ours.
var pagesWithStockDaprd = map[string]bool{"bindings.md": true}

// explicit gives programs that a page starts the flags for what they would do by default,
// as far as it cannot be had twice on one machine.
var explicitFlags = strings.NewReplacer(
	"mortise dev", "mortise dev --dapr-http-listen-address 127.0.0.1:3500 --dapr-grpc-listen-address 127.0.0.1:50001 "+
		"--http-listen-address 127.0.0.1:7080",
	"daprd --", "daprd --dapr-http-port 3500 --dapr-grpc-port 50001 --dapr-internal-grpc-port 50002 --enable-metrics=false --",
)

// pagePorts are all ports that pages name, and pageSockets is where they say that the
// socket is. Each reader has others.
var pagePorts = []string{"3000", "3500", "7070", "7080", "9464", "34904", "50001", "50002"}

const pageSockets = "/tmp/dapr-components-sockets"

var (
	port     = regexp.MustCompile(`\b\d{4,5}\b`)           // what can be one in a text
	function = regexp.MustCompile(`(?m)^\w+\(\) \{.*\}\n`) // of the shell
)

func TestPages(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/apis/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("found pages %q, %v", pages, err)
	}
	for _, page := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			steps, err := docs.Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			r := newPageRunner(t, pagesWithStockDaprd[filepath.Base(page)])
			for _, step := range steps {
				r.runStep(step)
			}
		})
	}
}

// reader does what a page says, in a folder, with a few programs, and at ports of its
// own.
type pageRunner struct {
	t                *testing.T
	folder, sockets  string
	ports, pagePorts map[string]string // ports, by those of the page, and the other way round
	variables        []string
	functions        string // of the shell, that commands have defined
	terminals        map[string]*process
}

func newPageRunner(t *testing.T, stock bool) *pageRunner {
	t.Helper()
	r := &pageRunner{
		t: t, folder: t.TempDir(), sockets: socketsFolder(t),
		ports: map[string]string{}, pagePorts: map[string]string{}, terminals: map[string]*process{},
	}
	r.variables = append(inFolder(r.sockets),
		"PATH="+r.programs(stock)+string(filepath.ListSeparator)+os.Getenv("PATH"),
		"GOBIN="+filepath.Join(r.folder, "bin"),
		"GOWORK="+r.workspace(),
		"DAPR_GRPC_PORT="+r.localPort("50001"),
		"DAPR_HTTP_PORT="+r.localPort("3500"),
	)
	return r
}

// here is what the page says, for this reader.
func (r *pageRunner) localize(text string) string {
	return port.ReplaceAllStringFunc(strings.ReplaceAll(text, pageSockets, r.sockets), r.localPort)
}

// ownPort is the reader's port in the place of one that pages name. It is looked for when
// it is needed, lest it be taken by then.
func (r *pageRunner) localPort(p string) string {
	if !slices.Contains(pagePorts, p) {
		return p
	}
	if r.ports[p] == "" {
		r.ports[p] = freePort(r.t)
		r.pagePorts[r.ports[p]] = p
	}
	return r.ports[p]
}

// inPage is what a program has said, as the page has it.
func (r *pageRunner) toPage(text string) string {
	text = strings.ReplaceAll(docs.Mask(text), r.sockets, pageSockets)
	return port.ReplaceAllStringFunc(text, func(p string) string { return cmp.Or(r.pagePorts[p], p) })
}

// programs returns a folder with the programs that the pages start. What the reader's
// clone has is beside it.
func (r *pageRunner) programs(stock bool) string {
	r.t.Helper()
	daprd := daprdProgram.path
	if stock {
		daprd = stockProgram.path
	}
	bin := filepath.Join(r.folder, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		r.t.Fatal(err)
	}
	for path, target := range map[string]string{
		"bin/mortise": mortiseProgram.path, "bin/daprd": daprd, "deploy": "../../deploy", "examples": "../../examples",
	} {
		target, err := filepath.Abs(target)
		if err == nil {
			err = os.Symlink(target, filepath.Join(r.folder, path))
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return bin
}

// workspace returns a go.work by which the reader's programs find this repository, and
// Dapr's SDK.
func (r *pageRunner) workspace() string {
	r.t.Helper()
	module, err := os.Getwd()
	if err != nil {
		r.t.Fatal(err)
	}
	work := exec.CommandContext(r.t.Context(), "go", "work", "init", module)
	work.Dir = r.t.TempDir()
	if out, err := work.CombinedOutput(); err != nil {
		r.t.Fatalf("go work init: %v\n%s", err, out)
	}
	return filepath.Join(work.Dir, "go.work")
}

// take takes a step. The test ends if it does not come out as the page says.
func (r *pageRunner) runStep(step docs.Step) {
	r.t.Helper()
	var err error
	switch step.Kind {
	case docs.File:
		err = r.write(step.Name, r.localize(step.Text))
	case docs.Command:
		err = r.run(step)
	case docs.Terminal:
		r.startTerminal(step)
	case docs.Appears:
		err = r.awaitOutput(step)
	}
	if err != nil {
		r.t.Fatalf("line %d, %s %s: %v", step.Line, step.Kind, step.Name, err)
	}
}

func (r *pageRunner) write(name, text string) error {
	path := filepath.Join(r.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

// script is the text of commands as a shell takes them.
func (r *pageRunner) script(text string) string { return r.localize(explicitFlags.Replace(text)) }

// run runs commands until they end. They know the functions that commands before them
// have defined, as in one terminal.
func (r *pageRunner) run(step docs.Step) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute) // some compile
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-ec", r.script(r.functions+step.Text))
	r.functions += strings.Join(function.FindAllString(step.Text, -1), "")
	shell.Dir, shell.Env, shell.WaitDelay = r.folder, append(os.Environ(), r.variables...), time.Second
	var printed, complained bytes.Buffer
	shell.Stdout, shell.Stderr = &printed, &complained
	err := shell.Run()
	if err == nil {
		err = step.Answer.Check(r.toPage(printed.String()))
	}
	if err != nil {
		return fmt.Errorf("%s%w\n%s", step.Text, err, complained.String())
	}
	return nil
}

// open starts a command that goes on.
func (r *pageRunner) startTerminal(step docs.Step) {
	r.t.Helper()
	script := fmt.Sprintf("cd '%s' && exec env %s", r.folder, r.script(step.Text))
	r.terminals[step.Name] = start(r.t, step.Name, "sh", r.variables, "-c", script)
}

// watch waits until a terminal says what it shall.
func (r *pageRunner) awaitOutput(step docs.Step) error {
	terminal := r.terminals[step.Name]
	if terminal == nil {
		return fmt.Errorf("no command has been started there")
	}
	eventually(r.t, fmt.Sprintf("line %d, it says so in terminal %s", step.Line, step.Name), func() error {
		if line := docs.Missing(step.Text, r.toPage(terminal.output.String())); line != "" {
			return fmt.Errorf("it does not say %s", line)
		}
		return nil
	})
	return nil
}

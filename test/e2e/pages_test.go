// The pages of docs/apis, whose steps are run as a reader would run them.
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

// pagesWithStockDaprd are the pages that use Dapr's own daprd. The others use ours.
var pagesWithStockDaprd = map[string]bool{"bindings.md": true}

// explicitFlags adds to programs that a page starts the flags for their default ports,
// which are then replaced, because tests run in parallel.
var explicitFlags = strings.NewReplacer(
	"mortise dev", "mortise dev --dapr-http-listen-address 127.0.0.1:3500 --dapr-grpc-listen-address 127.0.0.1:50001 "+
		"--http-listen-address 127.0.0.1:7080",
	"daprd --", "daprd --dapr-http-port 3500 --dapr-grpc-port 50001 --dapr-internal-grpc-port 50002 --enable-metrics=false --",
)

// pagePorts are all ports in the pages, and pageSockets is their sockets folder. Each
// pageRunner replaces them.
var pagePorts = []string{"3000", "3500", "7070", "7080", "9464", "34904", "50001", "50002"}

const pageSockets = "/tmp/dapr-components-sockets"

var (
	port     = regexp.MustCompile(`\b\d{4,5}\b`)           // anything that may be a port
	function = regexp.MustCompile(`(?m)^\w+\(\) \{.*\}\n`) // a function of the shell
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

// pageRunner runs the steps of a page, with its own folder, programs and ports.
type pageRunner struct {
	t               *testing.T
	folder, sockets string
	// Local ports by those of the page, and the reverse.
	ports, pagePorts map[string]string
	variables        []string
	functions        string // shell functions that commands have defined
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

// localize replaces the ports and the sockets folder of the page by local ones.
func (r *pageRunner) localize(text string) string {
	return port.ReplaceAllStringFunc(strings.ReplaceAll(text, pageSockets, r.sockets), r.localPort)
}

// localPort returns the local port for one of the page. It reserves none before it is
// needed, because another process could take it.
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

// toPage replaces local ports and the sockets folder by those of the page.
func (r *pageRunner) toPage(text string) string {
	text = strings.ReplaceAll(docs.Mask(text), r.sockets, pageSockets)
	return port.ReplaceAllStringFunc(text, func(p string) string { return cmp.Or(r.pagePorts[p], p) })
}

// programs returns a folder with the programs that the pages start. The folders of a
// clone are beside it.
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

// workspace returns a go.work with which programs of the page find this repository and
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

// runStep runs a step. The test ends if its output differs from the page.
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

// script returns the commands with local ports.
func (r *pageRunner) script(text string) string { return r.localize(explicitFlags.Replace(text)) }

// run runs commands until they end. They can call the functions that previous commands
// have defined, as in one terminal.
func (r *pageRunner) run(step docs.Step) error {
	// Some commands compile.
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-ec", r.script(r.functions+step.Text))
	r.functions += strings.Join(function.FindAllString(step.Text, -1), "")
	shell.Dir, shell.Env, shell.WaitDelay = r.folder, append(os.Environ(), r.variables...), time.Second
	var stdout, stderr bytes.Buffer
	shell.Stdout, shell.Stderr = &stdout, &stderr
	err := shell.Run()
	if err == nil {
		err = step.Answer.Check(r.toPage(stdout.String()))
	}
	if err != nil {
		return fmt.Errorf("%s%w\n%s", step.Text, err, stderr.String())
	}
	return nil
}

// startTerminal starts a command that keeps running.
func (r *pageRunner) startTerminal(step docs.Step) {
	r.t.Helper()
	script := fmt.Sprintf("cd '%s' && exec env %s", r.folder, r.script(step.Text))
	r.terminals[step.Name] = start(r.t, step.Name, "sh", r.variables, "-c", script)
}

// awaitOutput waits until the output of a terminal contains that of the step.
func (r *pageRunner) awaitOutput(step docs.Step) error {
	terminal := r.terminals[step.Name]
	if terminal == nil {
		return fmt.Errorf("no command has been started in this terminal")
	}
	eventually(r.t, fmt.Sprintf("line %d, output of terminal %s", step.Line, step.Name), func() error {
		if line := docs.Missing(step.Text, r.toPage(terminal.output.String())); line != "" {
			return fmt.Errorf("missing line: %s", line)
		}
		return nil
	})
	return nil
}

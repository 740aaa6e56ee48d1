// The programs under test: built once, or named by the environment.
package e2e

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	dapr "github.com/dapr/go-sdk/client"
)

// program is one of the programs under test.
type program struct {
	variable string   // names a ready binary, in the environment
	folder   string   // the folder of its module
	flags    []string // flags of go build
	source   string   // the package; empty: that of the folder
	path     string   // the binary; set by TestMain
}

var (
	mortiseProgram = program{variable: "MORTISE_BIN", folder: "../.."}
	daprdProgram   = program{
		variable: "DAPRD_BIN",
		folder:   "../../daprd",
		flags:    []string{"-tags", "stablecomponents", "-ldflags", "-s -w"},
	}
	stockProgram = program{
		variable: "STOCK_DAPRD_BIN",
		folder:   daprdProgram.folder, // its go.mod selects the version
		flags:    daprdProgram.flags,
		source:   "github.com/dapr/dapr/cmd/daprd",
	}
)

func TestMain(m *testing.M) {
	if socket, redisAddr, ok := strings.Cut(os.Getenv(holderVariable), " "); ok {
		if err := runHolder(socket, redisAddr); err != nil {
			fmt.Fprintln(os.Stderr, "holder:", err)
			os.Exit(1)
		}
		return
	}
	if socket, name, ok := strings.Cut(os.Getenv(ownerVariable), " "); ok {
		fmt.Fprintln(os.Stderr, "owner:", runOwner(socket, name))
		os.Exit(1)
	}
	if socket := os.Getenv(probeVariable); socket != "" {
		if err := runProbe(socket); err != nil {
			fmt.Fprintln(os.Stderr, "probe:", err)
			os.Exit(1)
		}
		return
	}
	dapr.SetLogger(nil) // it would log every client
	dir, err := os.MkdirTemp("", "e2e")
	if err == nil {
		err = os.Chmod(dir, 0o755) // other users run programs from it
	}
	if err == nil {
		err = buildPrograms(dir, &mortiseProgram, &daprdProgram, &stockProgram)
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// buildPrograms finds or builds the programs.
func buildPrograms(dir string, programs ...*program) error {
	for _, p := range programs {
		if p.path = os.Getenv(p.variable); p.path != "" {
			if _, err := os.Stat(p.path); err != nil {
				return fmt.Errorf("%s: %w", p.variable, err)
			}
			continue
		}
		p.path = filepath.Join(dir, p.variable)
		build := exec.Command("go", append([]string{"build", "-o", p.path}, p.flags...)...)
		build.Dir = p.folder
		build.Args = append(build.Args, cmp.Or(p.source, "."))
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", p.folder, err, out)
		}
	}
	return nil
}

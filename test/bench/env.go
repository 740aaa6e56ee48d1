package main

// The environment of a run: its servers, each started when it is first needed, and all
// stopped at the end.

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// env is the environment of a run. It is not safe for concurrent use.
type env struct {
	options
	log      io.Writer
	folder   string // temporary
	run, row closers
	roles    map[string]*process // running shared servers, by column of the cost table

	// Shared servers.
	echo, mortise, second, other, redis, etcd, daprd func() (*process, error)

	mortiseBinary, daprdBinary, peersBinary func() (string, error)
}

// closers are functions that are called at the end, in reverse order.
type closers []func()

func (c *closers) add(f func()) { *c = append(*c, f) }

func (c *closers) close() {
	for _, f := range slices.Backward(*c) {
		f()
	}
	*c = nil
}

func newEnv(ctx context.Context, o options, progress io.Writer) (*env, error) {
	folder, err := os.MkdirTemp("", "mortise-bench-")
	if err != nil {
		return nil, err
	}
	l := &env{options: o, log: progress, folder: folder, roles: map[string]*process{}}
	l.run.add(func() { _ = os.RemoveAll(folder) })
	l.mortiseBinary = sync.OnceValues(func() (string, error) { return l.buildMortise(ctx) })
	l.daprdBinary = sync.OnceValues(func() (string, error) { return l.buildDaprd(ctx) })
	l.peersBinary = sync.OnceValues(func() (string, error) { return l.buildPeers(ctx) })
	l.share(&l.echo, "echo", func() (*process, error) { return l.start(ctx, echoProgram) })
	l.share(&l.redis, "redis", func() (*process, error) { return l.startRedis(ctx) })
	l.share(&l.mortise, "mortise", func() (*process, error) { return l.startMortise(ctx, l.mortiseBinary) })
	l.share(&l.second, "second", func() (*process, error) { return l.startMortise(ctx, l.mortiseBinary) })
	l.share(&l.other, "other", func() (*process, error) {
		return l.startMortise(ctx, func() (string, error) { return filepath.Abs(o.against) })
	})
	l.share(&l.etcd, "etcd", func() (*process, error) { return l.startEtcd(ctx) })
	l.share(&l.daprd, "daprd", func() (*process, error) { return l.startDaprd(ctx) })
	return l, nil
}

// share sets *server to a function that starts the server in its first call.
func (l *env) share(server *func() (*process, error), role string, start func() (*process, error)) {
	*server = sync.OnceValues(func() (*process, error) {
		p, err := start()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", role, err)
		}
		l.run.add(p.stop)
		l.roles[role] = p
		return p, nil
	})
}

func (l *env) close() {
	l.row.close()
	l.run.close()
}

// subfolder creates a folder for one server.
func (l *env) subfolder() (string, error) { return os.MkdirTemp(l.folder, "") }

// buildMortise builds Mortise from this checkout, as the Dockerfile does.
func (l *env) buildMortise(ctx context.Context) (string, error) {
	if l.options.mortise != "" {
		return filepath.Abs(l.options.mortise)
	}
	binary := filepath.Join(l.folder, "mortise")
	return binary, goBuild(ctx, "", "-trimpath", "-ldflags", "-s -w", "-o", binary, ".")
}

// buildDaprd builds the small sidecar of the checkout, into a folder that is kept,
// because the build takes minutes.
func (l *env) buildDaprd(ctx context.Context) (string, error) {
	if l.options.daprd != "" {
		return filepath.Abs(l.options.daprd)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(cache, "mortise-bench", "daprd")
	fmt.Fprintln(l.log, "building", binary)
	return binary, goBuild(ctx, "daprd", "-trimpath", "-tags", "stablecomponents", "-ldflags", "-s -w", "-o", binary, ".")
}

// buildPeers builds the workers' program.
func (l *env) buildPeers(ctx context.Context) (string, error) {
	binary := filepath.Join(l.folder, "peers")
	return binary, goBuild(ctx, "test/bench/peers", "-o", binary, ".")
}

// goBuild runs go build in a folder of the checkout.
func goBuild(ctx context.Context, folder string, args ...string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/mortise-lock/mortise").Output()
	if err != nil {
		return fmt.Errorf("run this in test/bench: go list: %w", err)
	}
	build := exec.CommandContext(ctx, "go", append([]string{"build"}, args...)...)
	build.Dir = filepath.Join(strings.TrimSpace(string(root)), folder)
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, text)
	}
	return nil
}

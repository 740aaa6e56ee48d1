package main

// The lab: the servers of a run, each started when it is first needed, all stopped at the
// end.

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

// lab is where a run takes place. It is used by one goroutine.
type lab struct {
	options
	progress io.Writer
	folder   string // temporary
	run, row closers
	roles    map[string]*process // the shared servers that run, by what they are called in the table of costs

	echo, mortise, second, other, redis, etcd, daprd func() (*process, error) // shared servers
	mortiseBinary, daprdBinary, peersBinary          func() (string, error)
}

// closers are what is to be done at the end, the last first.
type closers []func()

func (c *closers) add(f func()) { *c = append(*c, f) }

func (c *closers) close() {
	for _, f := range slices.Backward(*c) {
		f()
	}
	*c = nil
}

func newLab(ctx context.Context, o options, progress io.Writer) (*lab, error) {
	folder, err := os.MkdirTemp("", "mortise-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{options: o, progress: progress, folder: folder, roles: map[string]*process{}}
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

// share makes *server a function that starts the server at its first call.
func (l *lab) share(server *func() (*process, error), role string, start func() (*process, error)) {
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

func (l *lab) close() {
	l.row.close()
	l.run.close()
}

// subfolder makes a folder for one server.
func (l *lab) subfolder() (string, error) { return os.MkdirTemp(l.folder, "") }

// buildMortise builds the checkout that this module is part of, as the Dockerfile does.
func (l *lab) buildMortise(ctx context.Context) (string, error) {
	if l.options.mortise != "" {
		return filepath.Abs(l.options.mortise)
	}
	binary := filepath.Join(l.folder, "mortise")
	return binary, goBuild(ctx, "", "-trimpath", "-ldflags", "-s -w", "-o", binary, ".")
}

// buildDaprd builds the small sidecar of the checkout, into a folder where it stays
// because it takes long.
func (l *lab) buildDaprd(ctx context.Context) (string, error) {
	if l.options.daprd != "" {
		return filepath.Abs(l.options.daprd)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(cache, "mortise-bench", "daprd")
	fmt.Fprintln(l.progress, "building", binary)
	return binary, goBuild(ctx, "daprd", "-trimpath", "-tags", "stablecomponents", "-ldflags", "-s -w", "-o", binary, ".")
}

// buildPeers builds the program of the workers.
func (l *lab) buildPeers(ctx context.Context) (string, error) {
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

package main

// The measured servers, and how each is started.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"
	goredis "github.com/redis/go-redis/v9"
)

// program is a server on a Unix socket in a folder, and its command line.
type program struct {
	name    string
	command func(l *env, folder string) (cmd *exec.Cmd, socket string, err error)
}

// mortiseProgram is Mortise with one component of the memory store.
var mortiseProgram = program{"Mortise", func(l *env, folder string) (*exec.Cmd, string, error) {
	binary, err := l.mortiseBinary()
	if err != nil {
		return nil, "", err
	}
	return mortiseCommand(binary, folder, component{name: "memory", kind: "lock.mortise"})
}}

// start starts a program in a new folder and waits until it responds.
func (l *env) start(ctx context.Context, which program) (*process, error) {
	folder, err := l.subfolder()
	if err != nil {
		return nil, err
	}
	cmd, socket, err := which.command(l, folder)
	if err != nil {
		return nil, err
	}
	return l.startSocket(ctx, folder, cmd, socket)
}

func (l *env) startSocket(ctx context.Context, folder string, cmd *exec.Cmd, socket string) (*process, error) {
	p, err := spawn(folder, cmd)
	if err != nil {
		return nil, err
	}
	p.addr = socket
	if err := p.dial("unix://" + socket); err != nil {
		p.stop()
		return nil, err
	}
	return p, p.await(ctx, p.healthy)
}

// component is a Dapr component, and its metadata in pairs.
type component struct {
	name, kind string
	metadata   []string
}

// writeComponents writes the YAML of components to a new folder below the given one, and
// returns the new folder.
func writeComponents(folder string, components ...component) (string, error) {
	var text strings.Builder
	for _, c := range components {
		fmt.Fprintf(&text, "---\napiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: %s\nspec:\n  type: %s\n  version: v1\n",
			c.name, c.kind)
		for i := 0; i < len(c.metadata); i += 2 {
			if i == 0 {
				text.WriteString("  metadata:\n")
			}
			fmt.Fprintf(&text, "    - name: %s\n      value: %q\n", c.metadata[i], c.metadata[i+1])
		}
	}
	resources := filepath.Join(folder, "resources")
	if err := os.Mkdir(resources, 0o755); err != nil {
		return "", err
	}
	return resources, os.WriteFile(filepath.Join(resources, "components.yaml"), []byte(text.String()), 0o600)
}

func mortiseCommand(binary, folder string, components ...component) (*exec.Cmd, string, error) {
	resources, err := writeComponents(folder, components...)
	cmd := exec.Command(binary, "--sockets-folder", folder, "--resources-path", resources, "--log-level", "error")
	return cmd, filepath.Join(folder, "mortise.sock"), err
}

// startMortise starts Mortise with the components of the throughput rows.
func (l *env) startMortise(ctx context.Context, binary func() (string, error)) (*process, error) {
	program, err := binary()
	if err != nil {
		return nil, err
	}
	components, err := l.components()
	if err != nil {
		return nil, err
	}
	folder, err := l.subfolder()
	if err != nil {
		return nil, err
	}
	cmd, socket, err := mortiseCommand(program, folder, components...)
	if err != nil {
		return nil, err
	}
	return l.startSocket(ctx, folder, cmd, socket)
}

// components returns the components of Mortise, and daprd's built-in lock, which Mortise
// ignores.
func (l *env) components() ([]component, error) {
	redis, err := l.redis()
	if err != nil {
		return nil, err
	}
	return []component{
		{"memory", "lock.mortise", []string{"store", "memory"}},
		{"redis", "lock.mortise", []string{"store", "redis", "redisHost", redis.addr}},
		{"builtin", "lock.redis", []string{"redisHost", redis.addr, "redisPassword", ""}},
	}, nil
}

// startRedis starts redis-server without persistence.
func (l *env) startRedis(ctx context.Context) (*process, error) {
	folder, err := l.subfolder()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p, err := spawn(folder, exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", folder,
		"--save", "", "--appendonly", "no"))
	if err != nil {
		return nil, fmt.Errorf("redis-server must be installed (Debian: apt-get install redis-server): %w", err)
	}
	p.addr = net.JoinHostPort("127.0.0.1", port)
	client := goredis.NewClient(&goredis.Options{Addr: p.addr})
	defer client.Close()
	return p, p.await(ctx, func(ctx context.Context) error { return client.Ping(ctx).Err() })
}

// startEtcd starts a single etcd server. It does not sync its disk, because the servers
// that it is compared with do not either.
func (l *env) startEtcd(ctx context.Context) (*process, error) {
	folder, err := l.subfolder()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort("127.0.0.1", port)
	client, peer := "http://"+addr, "http://127.0.0.1:0"
	p, err := spawn(folder, exec.Command("etcd", "--name", "bench", "--data-dir", filepath.Join(folder, "data"), "--unsafe-no-fsync",
		"--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
		"--initial-advertise-peer-urls", peer, "--initial-cluster", "bench="+peer))
	if err != nil {
		return nil, fmt.Errorf("etcd must be installed (Debian: apt-get install etcd-server): %w", err)
	}
	p.addr = addr
	return p, p.await(ctx, p.hasLeader)
}

// hasLeader returns an error unless etcd has a leader.
func (p *process) hasLeader(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/health", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return nil
}

// startDaprd starts a sidecar beside the shared Mortise, with the same components and
// lock.redis, on the same Redis.
func (l *env) startDaprd(ctx context.Context) (*process, error) {
	mortise, err := l.mortise()
	if err != nil {
		return nil, err
	}
	binary, err := l.daprdBinary()
	if err != nil {
		return nil, err
	}
	folder, err := l.subfolder()
	if err != nil {
		return nil, err
	}
	args := []string{"--app-id", appID, "--resources-path", filepath.Join(mortise.folder, "resources"),
		"--dapr-listen-addresses", "127.0.0.1", "--enable-metrics=false", "--log-level", "error"}
	ports := map[string]string{}
	for _, flag := range []string{"--dapr-grpc-port", "--dapr-http-port", "--dapr-internal-grpc-port"} {
		if ports[flag], err = freePort(); err != nil {
			return nil, err
		}
		args = append(args, flag, ports[flag])
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "DAPR_COMPONENTS_SOCKETS_FOLDER="+mortise.folder)
	p, err := spawn(folder, cmd)
	if err != nil {
		return nil, err
	}
	p.addr = net.JoinHostPort("127.0.0.1", ports["--dapr-grpc-port"])
	if err := p.dial(p.addr); err != nil {
		p.stop()
		return nil, err
	}
	return p, p.await(ctx, p.hasLocks)
}

// hasLocks returns an error unless daprd's stores respond.
func (p *process) hasLocks(ctx context.Context) error {
	for _, store := range []string{"memory", "redis", "builtin"} {
		_, err := runtimepb.NewDaprClient(p.conn).UnlockAlpha1(ctx,
			&runtimepb.UnlockRequest{StoreName: store, ResourceId: "none", LockOwner: "none"})
		if err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mortise-lock/mortise/component"
)

func TestBadFlagsAreRefusedByName(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"unknown flag", []string{"--nope"}, "--nope"},
		{"argument that is no flag", []string{"serve"}, `"serve"`},
		{"mode that is not octal", []string{"--socket-mode", "rw"}, "--socket-mode"},
		{"mode that is too large", []string{"--socket-mode", "1777"}, "--socket-mode"},
		{"a TLS certificate without a key", []string{"--listen-address", "127.0.0.1:0", "--tls-cert-file", "c"}, "--tls-key-file"},
		{"plain TCP for other machines", []string{"--listen-address", "0.0.0.0:0"}, "--allow-insecure-tcp"},
		{"unknown level", []string{"--log-level", "loud"}, "--log-level"},
		{"unknown store", []string{"--default-store", "paper"}, "--default-store: no store \"paper\", known are memory, redis"},
		{"resources that are not there", []string{"--resources-path", "/does/not/exist"}, "/does/not/exist"},
	} {
		t.Run(row.name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "s")
			err := run(t.Context(), append(row.args, "--sockets-folder", folder), func(string) string { return "" })
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	getenv := func(name string) string {
		if name == component.FolderVariables[0] {
			return t.TempDir()
		}
		return ""
	}
	if err := run(ctx, nil, getenv); err != nil {
		t.Error(err)
	}
}

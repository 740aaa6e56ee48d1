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

func TestTheFirstVariableThatIsSetNamesTheFolder(t *testing.T) {
	set := map[string]string{}
	getenv := func(name string) string { return set[name] }
	if got := folder(getenv); got != component.DefaultFolder {
		t.Errorf("with none set: %s", got)
	}
	for i := len(component.FolderVariables) - 1; i >= 0; i-- {
		name := component.FolderVariables[i]
		set[name] = "/" + name
		if got := folder(getenv); got != "/"+name {
			t.Errorf("with %s set: %s", name, got)
		}
	}
}

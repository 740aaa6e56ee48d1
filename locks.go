package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/mortise-lock/mortise/cli"
	"github.com/mortise-lock/mortise/component"
)

// runLocks runs "mortise locks" and returns its exit code.
func runLocks(args []string) int {
	return cli.Run(context.Background(), args, cliDefaults(os.Getenv), cli.OSStreams())
}

// cliDefaults returns the defaults of the flags with which "mortise locks" connects.
func cliDefaults(getenv func(string) string) cli.Defaults {
	return cli.Defaults{
		Target: "unix://" + filepath.Join(component.Folder(getenv), "mortise.sock"),
		Token:  getenv(component.TokenVariable), TokenVariable: component.TokenVariable,
	}
}

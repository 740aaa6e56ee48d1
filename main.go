// Mortise is a distributed lock that plugs into Dapr: it serves daprd on a Unix socket,
// and its own clients there and over TCP.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/dapr/kit/logger"
	"github.com/spf13/pflag"

	"github.com/mortise-lock/mortise/component"
	"github.com/mortise-lock/mortise/stores/all"
)

// version is set when a release is built.
var version = "dev"

const usage = `mortise [flags]      serves
mortise dev [flags]  serves a memory store on the socket, by RTM over HTTP, and by Dapr's API, to try things out
mortise locks        lists, acquires and revokes locks

`

// heapFloor is the size of an allocation that is never touched, so it uses address space
// only. The garbage collector counts it as live heap, and so runs rarely: without it, a
// heap of two megabytes is collected dozens of times a second.
const heapFloor = 16 << 20

func main() {
	if len(os.Args) > 1 && os.Args[1] == "locks" {
		os.Exit(runLocks(os.Args[1:]))
	}
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, os.Args[1:], os.Getenv); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mortise:", err)
		stop()
		os.Exit(1)
	}
}

// run reads the flags and serves until ctx ends.
func run(ctx context.Context, args []string, getenv func(string) string) error {
	flags := pflag.NewFlagSet("mortise", pflag.ContinueOnError)
	var (
		o        component.Options
		logging  = logger.DefaultOptions()
		fallback = flags.String("default-store", "memory", "store of a component without the metadata key store")
		show     = flags.Bool("version", false, "print the version and exit")
	)
	dev := len(args) > 0 && args[0] == "dev"
	if dev {
		o, args = component.Dev(), args[1:]
	}
	o.AddFlags(flags, getenv)
	o.Version, o.TCP.Dapr.Version = version, version
	flags.StringVar(&logging.OutputLevel, "log-level", logging.OutputLevel, "debug, info, warn or error")
	flags.BoolVar(&logging.JSONFormatEnabled, "log-as-json", false, "write logs as JSON")
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage, flags.FlagUsages()) }
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *show {
		fmt.Println(version)
		return nil
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	logger.DaprVersion = version // logged as "ver"
	log := logger.NewLogger("mortise").WithFields(map[string]any{"component": "lock." + o.Name})
	if err := logger.ApplyOptionsToLoggers(&logging); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	backends := all.Backends(*fallback)
	if err := backends.Check(*fallback); err != nil {
		return fmt.Errorf("--default-store: %w", err)
	}
	if len(o.ResourcePaths) > 0 {
		o.Components = nil // explicit resource files replace the default dev component
	}
	if hint := o.Hint(); dev && hint != "" {
		o.Ready = func() { fmt.Println(hint) }
	}
	return component.Run(ctx, o, backends, log)
}

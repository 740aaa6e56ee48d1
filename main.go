// Mortise is a distributed lock that plugs into Dapr: it serves the lock store contract to daprd on a Unix socket.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dapr/kit/logger"
	"github.com/spf13/pflag"

	"github.com/mortise-lock/mortise/component"
	"github.com/mortise-lock/mortise/stores/all"
)

// version is set when a release is built.
var version = "dev"

// heapFloor is memory that is never touched, so it takes addresses only. The garbage collector counts it, and so runs when
// garbage has grown to its size, and not dozens of times a second on a heap of two megabytes.
const heapFloor = 16 << 20

func main() {
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
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
		mode     = flags.String("socket-mode", "0660", "permissions of the socket, octal; daprd needs to read and write")
		fallback = flags.String("default-store", "memory", "store of a component that names none")
		tell     = flags.Bool("version", false, "print the version and exit")
	)
	flags.StringVar(&o.Folder, "sockets-folder", folder(getenv),
		"where the socket appears; else $"+strings.Join(component.FolderVariables, ", $"))
	flags.StringVar(&o.Name, "name", "mortise", "name of the socket; the component type is lock.<name>")
	flags.StringArrayVar(&o.ResourcePaths, "resources-path", nil,
		"file or folder of Dapr component YAML to open before the socket appears; repeatable")
	flags.DurationVar(&o.DrainTimeout, "drain-timeout", 5*time.Second, "how long calls under way may take to finish at the end")
	flags.StringVar(&logging.OutputLevel, "log-level", logging.OutputLevel, "debug, info, warn or error")
	flags.BoolVar(&logging.JSONFormatEnabled, "log-as-json", false, "write logs as JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *tell {
		fmt.Println(version)
		return nil
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	bits, err := strconv.ParseUint(*mode, 8, 9)
	if err != nil {
		return errors.New("--socket-mode: is no octal number up to 0777")
	}
	o.SocketMode = os.FileMode(bits)
	logger.DaprVersion = version // what kit's logger tells as ver
	log := logger.NewLogger("mortise").WithFields(map[string]any{"component": "lock." + o.Name})
	if err := logger.ApplyOptionsToLoggers(&logging); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	backends := all.Backends(*fallback)
	if err := backends.Check(*fallback); err != nil {
		return fmt.Errorf("--default-store: %w", err)
	}
	return component.Run(ctx, o, backends, log)
}

// folder is the sockets folder that the environment names, or the default.
func folder(getenv func(string) string) string {
	for _, name := range component.FolderVariables {
		if value := getenv(name); value != "" {
			return value
		}
	}
	return component.DefaultFolder
}

package holders

import (
	"context"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/client"
	"github.com/mortise-lock/mortise/component"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/memory"
)

const lockstore = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: lockstore}
spec: {type: lock.mortise, version: v1}
`

// Serve starts a Mortise in this process and returns a client of it, and a function that
// ends both.
func Serve() (locks *client.Client, end func()) {
	folder, err := os.MkdirTemp("", "mortise")
	exitOnError(err)
	resources := filepath.Join(folder, "lockstore.yaml")
	exitOnError(os.WriteFile(resources, []byte(lockstore), 0o600))
	registry := stores.NewRegistry("memory")
	registry.Register("memory", memory.NewProcess().Backend())
	quiet := logger.NewLogger("examples")
	quiet.SetOutput(io.Discard)

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		options := component.Options{Name: "mortise", Folder: folder, SocketMode: 0o600, ResourcePaths: []string{resources}}
		exitOnError(component.Run(ctx, options, registry, quiet))
	}()
	locks, err = client.Dial("unix://" + filepath.Join(folder, "mortise.sock"))
	exitOnError(err)
	return locks, func() {
		_ = locks.Close()
		cancel()
		<-ended
		exitOnError(os.RemoveAll(folder))
	}
}

func exitOnError(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

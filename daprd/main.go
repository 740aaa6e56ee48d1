// Command daprd is Dapr's sidecar with pluggable lock stores added: it discovers them in
// its sockets folder, as it discovers pluggable state stores. It also skips a socket
// there that it cannot use, for which upstream waits forever. Everything else, flags and
// components, is upstream's.
//
// Build it with -tags allcomponents for every component of the full sidecar, or with
// -tags stablecomponents for the small one.
package main

import (
	"github.com/dapr/dapr/cmd/daprd/app"

	// Registers the discovered lock stores.
	_ "github.com/mortise-lock/mortise/daprd/pluggablelock"
)

func main() {
	app.Run()
}

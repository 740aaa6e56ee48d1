package component

import (
	"flag"
	"os"
	"testing"
)

// parallelTests is the number of parallel tests. Most of their time they wait for
// timeouts and for locks to expire.
const parallelTests = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", parallelTests); err != nil {
		panic(err) // package testing defines the flag
	}
	os.Exit(m.Run())
}

package component

import (
	"flag"
	"os"
	"testing"
)

// parallelTests is the number of parallel tests, on a small machine too, because most of
// their time they wait for timeouts and for locks to expire.
const parallelTests = "4"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", parallelTests); err != nil {
		panic(err) // package testing defines the flag
	}
	os.Exit(m.Run())
}

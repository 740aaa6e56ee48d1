package rtm

import (
	"flag"
	"os"
	"testing"
)

// parallelTests is the number of tests that run at the same time. Most of them wait for
// TTLs.
const parallelTests = "32"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", parallelTests); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

package component

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"
)

// TestMain allows one parallel test more than package testing does, because several tests
// only wait for timeouts. Many more would delay the conformance tests with short leases.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(runtime.GOMAXPROCS(0)+1)); err != nil {
		panic(err) // package testing defines the flag
	}
	os.Exit(m.Run())
}

package rtm

import (
	"flag"
	"os"
	"testing"
)

// atOnce is how many tests run at once that mostly wait for time to pass.
const atOnce = "32"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err) // package testing has such a flag
	}
	os.Exit(m.Run())
}

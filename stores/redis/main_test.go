package redis

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
)

// These environment variables turn the test binary into a process that waits three times
// for a lock until it is killed.
const (
	waitOn    = "MORTISE_TEST_WAIT_ON"
	waitGroup = "MORTISE_TEST_WAIT_GROUP"
	waitKey   = "MORTISE_TEST_WAIT_KEY"
)

// parallelTests is how many tests run at once unless the flag -parallel is given. It is
// larger than the number of processors, because the tests spend most of their time
// waiting for leases to expire.
const parallelTests = 12

func TestMain(m *testing.M) {
	if addr := os.Getenv(waitOn); addr != "" {
		if err := waitAndHold(addr, os.Getenv(waitGroup), os.Getenv(waitKey)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	flag.Parse()
	isSet := false
	flag.Visit(func(f *flag.Flag) { isSet = isSet || f.Name == "test.parallel" })
	if !isSet {
		if err := flag.Set("test.parallel", strconv.Itoa(parallelTests)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// runsAll reports whether the long tests run, as make test-all has them.
func runsAll() bool { return os.Getenv("MORTISE_TEST_ALL") != "" }

// raceRounds returns for how many rounds a race runs: the number given if all tests run,
// and a fifth of it otherwise, times $MORTISE_RACE_FACTOR.
func raceRounds(t *testing.T, rounds int) int {
	t.Helper()
	text := os.Getenv("MORTISE_RACE_FACTOR")
	if text == "" {
		text = "1"
	}
	factor, err := strconv.Atoi(text)
	if err != nil || factor < 1 {
		t.Fatalf("MORTISE_RACE_FACTOR must be a positive number, got %q", text)
	}
	if !runsAll() {
		rounds /= 5
		t.Logf("%d rounds of each worker; make test-all runs five times as many", factor*rounds)
	}
	return factor * rounds
}

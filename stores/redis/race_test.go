// How long the races between a grant and the end of a wait are run.
package redis

import (
	"os"
	"strconv"
	"testing"
)

// raceRounds returns how many rounds a race is run for: the usual number, or as many
// times that as $MORTISE_RACE_FACTOR says. On a machine that does much else, each round
// takes long.
func raceRounds(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("MORTISE_RACE_FACTOR")
	if text == "" {
		return usual
	}
	factor, err := strconv.Atoi(text)
	if err != nil || factor < 1 {
		t.Fatalf("MORTISE_RACE_FACTOR must be a positive number, got %q", text)
	}
	return factor * usual
}

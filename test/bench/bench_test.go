package main

import (
	"context"
	"os"
	"strings"
	"testing"
)

// TestMain lets the test's program be the echo server, as the real one is.
func TestMain(m *testing.M) {
	if socket := os.Getenv(echoVariable); socket != "" {
		exit(serveEcho(socket))
	}
	os.Exit(m.Run())
}

// The numbers mean nothing here; that there are some does. daprd is left out, because building it takes minutes.
func TestEveryRowButDaprdsCanBeMeasured(t *testing.T) {
	const only = "^(memory|redis|start|idle|held|table|cost/(echo|canned|memory|redis|go-redis)/)"
	var out strings.Builder
	args := []string{"--rounds", "1", "--seconds", "0.02", "--held", "2000", "--settle", "0s", "--only", only}
	if err := run(t.Context(), args, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| memory/64 ", "| redis/1 ", "| start ", "| idle ", "| held-memory ", "| held-speed ", "| table-many ",
		"| bare gRPC echo "} {
		if !strings.Contains(out.String(), "\n"+want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if t.Failed() || testing.Verbose() {
		t.Log("\n" + out.String())
	}
}

func TestAnInterruptedRunStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, []string{"--only", "^memory/1$"}, t.Output(), t.Output()); err == nil {
		t.Error("no error")
	}
}

func TestSpread(t *testing.T) {
	for _, row := range []struct {
		values []float64
		want   string
	}{
		{[]float64{3}, "3.00"},
		{[]float64{3, 1, 200}, "3.00 (1.00–200)"},
		{[]float64{10, 30, 20, 40}, "25.0 (10.0–40.0)"},
	} {
		if got := spread(row.values); got != row.want {
			t.Errorf("spread of %v is %s, want %s", row.values, got, row.want)
		}
	}
}

func TestAims(t *testing.T) {
	for _, row := range []struct {
		aim      aim
		a, ratio float64
		want     bool
	}{
		{ratioAtLeast(0.9), 1, 0.9, true},
		{ratioAtLeast(0.9), 1, 0.89, false},
		{atMost(50), 50, 2, true},
		{atMost(50), 51, 0.1, false},
	} {
		if got := row.aim.met(row.a, row.ratio); got != row.want {
			t.Errorf("%s with A = %g and A/B = %g: %v", row.aim.text, row.a, row.ratio, got)
		}
	}
}

func TestMarkdownIsAligned(t *testing.T) {
	var out strings.Builder
	printMarkdown(&out, [][]string{{"row", "n"}, {"µs", "1.5"}, {"longer", "10"}})
	want := "| row    |   n |\n|--------|----:|\n| µs     | 1.5 |\n| longer |  10 |\n\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

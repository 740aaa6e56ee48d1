package main

import (
	"context"
	"os"
	"strings"
	"testing"
)

// TestMain lets the test binary serve as the echo server, as the program itself does.
func TestMain(m *testing.M) {
	if socket := os.Getenv(echoVariable); socket != "" {
		exit(serveEcho(socket))
	}
	os.Exit(m.Run())
}

// TestRun checks that rows can be measured, not what the numbers are. It leaves out
// daprd, because building it takes minutes, and etcd, which may not be installed.
func TestRun(t *testing.T) {
	const only = "^(memory|redis|in-redis|start|idle|held|table|client-memory/redislock|cost/(echo|canned|memory|redis|go-redis)|wait/(memory|redis|redsync))(/|-|$)"
	var out strings.Builder
	args := []string{"--rounds", "1", "--seconds", "0.02", "--held", "2000", "--settle", "0s", "--wait-interval", "0.1s", "--only", only}
	if err := run(t.Context(), args, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| memory/64 ", "| redis/1 ", "| start ", "| idle ", "| held-memory ", "| held-speed ", "| table-many ",
		"| client-memory/redislock/16 ", "| bare gRPC echo ", "| redsync "} {
		if !strings.Contains(out.String(), "\n"+want) {
			t.Errorf("missing %q in\n%s", want, out.String())
		}
	}
	if t.Failed() || testing.Verbose() {
		t.Log("\n" + out.String())
	}
}

func TestRun_Canceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, []string{"--only", "^memory/1$"}, t.Output(), t.Output()); err == nil {
		t.Error("got no error")
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

func TestAim(t *testing.T) {
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

func TestPrintMarkdown(t *testing.T) {
	var out strings.Builder
	printMarkdown(&out, [][]string{{"row", "n"}, {"µs", "1.5"}, {"longer", "10"}})
	want := "| row    |   n |\n|--------|----:|\n| µs     | 1.5 |\n| longer |  10 |\n\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestCommandTime(t *testing.T) {
	const stats = "# Commandstats\r\ncmdstat_evalsha:calls=20,usec=300,usec_per_call=15.00\r\ncmdstat_eval:calls=1,usec=40,usec_per_call=40.00\r\n" +
		"cmdstat_set:calls=20,usec=99,usec_per_call=4.95\r\n"
	if got := commandTime(stats, scripts); got != 340 {
		t.Errorf("got %g µs, want 340, the sum of the scripts", got)
	}
}

func TestResult(t *testing.T) {
	r := result{Took: 2e6, Held: 1e6, Waits: [][]int64{{1000, 2000, 3000}, {4000}}}
	r.add(result{Took: 4e6, Waits: [][]int64{{5000, 6000}}, Stuck: []int64{9000}, Overlaps: 2})
	for _, row := range []struct {
		name      string
		got, want any
	}{
		{"locks per second, by the longest time", r.perSecond(), 1.5},
		{"time without a holder, for each lock", r.handoff(), 5e5},
		{"shortest wait", r.wait(0), 1.0},
		{"median wait", r.wait(0.5), 4.0},
		{"longest wait, of a stuck caller", r.wait(1), 9.0},
		{"most to least", r.spread(), 3.0},
		{"failures", r.failures(), "2 overlaps, 1 stuck"},
	} {
		if row.got != row.want {
			t.Errorf("%s: got %v, want %v", row.name, row.got, row.want)
		}
	}
}

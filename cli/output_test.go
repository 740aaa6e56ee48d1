package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/client"
)

var sampleLocks = []client.LockInfo{
	{Key: "a", Owner: "ann", Token: 1795180459319807, TTL: 30 * time.Second, Remaining: 29876 * time.Millisecond, Waiters: 12,
		Metadata: map[string]string{"pid": "7", "host": "alpha one"}},
	{Key: "orders/17", Owner: "\x1b[2Jbob", Remaining: 1500 * time.Millisecond},
	{Key: "rtm||1||free", DeclaredTTL: 10 * time.Second},
	{Key: "rtm||1||held", Owner: "carl", Token: 9, TTL: time.Minute, Remaining: time.Minute, DeclaredTTL: 10 * time.Second},
}

func TestPrintTable(t *testing.T) {
	var out bytes.Buffer
	if err := printTable(&out, sampleLocks); err != nil {
		t.Fatal(err)
	}
	const want = `KEY           OWNER         TOKEN             TTL  LEFT  WAITERS  DECLARED  METADATA
a             ann           1795180459319807  30s  30s   12       -         host="alpha one" pid=7
orders/17     "\x1b[2Jbob"  -                 -    1.5s  0        -         -
rtm||1||free  -             -                 -    -     0        10s       -
rtm||1||held  carl          9                 1m   1m    0        10s       -
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestPrintEvent(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	for _, e := range []client.Event{
		{Kind: client.EventSnapshot, Locks: sampleLocks},
		{Kind: client.EventAcquired, Lock: client.LockInfo{Key: "b c", Owner: "bob", Token: 9}},
		{Kind: client.EventSnapshot, Missed: true},
		{Kind: client.EventDeclared, Lock: client.LockInfo{Key: "b", DeclaredTTL: time.Second}},
		{Kind: client.EventDeclared, Lock: client.LockInfo{Key: "b", Owner: "bob", Token: 9, DeclaredTTL: time.Second}},
		{Kind: client.EventWithdrawn, Lock: client.LockInfo{Key: "b", Owner: "bob", Token: 9, DeclaredTTL: time.Second}},
		{Kind: client.EventWithdrawn, Lock: client.LockInfo{Key: "b", DeclaredTTL: time.Second}},
		{Kind: client.EventKind(99), Lock: client.LockInfo{Key: "b", Owner: "bob", Token: 9}},
	} {
		if err := printEvent(&out, at, e); err != nil {
			t.Fatal(err)
		}
	}
	const want = `15:04:05  HELD       1795180459319807  a                     ann
15:04:05  HELD       -                 orders/17             "\x1b[2Jbob"
15:04:05  FREE       -                 rtm||1||free          -
15:04:05  HELD       9                 rtm||1||held          carl
15:04:05  ACQUIRED   9                 "b c"                 bob
15:04:05  DECLARED   -                 b                     -
15:04:05  DECLARED   9                 b                     bob
15:04:05  WITHDRAWN  9                 b                     bob
15:04:05  WITHDRAWN  -                 b                     -
15:04:05  EventKind(99)  9                 b                     bob
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestPrintJSON_Declared(t *testing.T) {
	var out bytes.Buffer
	for _, v := range []any{
		locksToJSON(sampleLocks[2:]),
		eventToJSON(client.Event{Kind: client.EventDeclared, Revision: 7, Lock: sampleLocks[2]}),
		eventToJSON(client.Event{Kind: client.EventWithdrawn, Revision: 8, Lock: sampleLocks[3]}),
	} {
		if err := printJSON(&out, v, false); err != nil {
			t.Fatal(err)
		}
	}
	const want = `[` +
		`{"key":"rtm||1||free","owner":"","token":0,"ttlMs":0,"remainingMs":0,"waiters":0,"declaredMs":10000},` +
		`{"key":"rtm||1||held","owner":"carl","token":9,"ttlMs":60000,"remainingMs":60000,"waiters":0,"declaredMs":10000}]
{"kind":"DECLARED","revision":7,"lock":{"key":"rtm||1||free","owner":"","token":0,"ttlMs":0,"declaredMs":10000}}
{"kind":"WITHDRAWN","revision":8,"lock":{"key":"rtm||1||held","owner":"carl","token":9,"ttlMs":60000,"declaredMs":10000}}
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestPrintLock_Declared(t *testing.T) {
	const free = "key       rtm||1||free\nowner     -\ntoken     -\nttl       -\nleft      -\nwaiters   0\ndeclared  10s\n"
	const held = "key       rtm||1||held\nowner     carl\ntoken     9\nttl       1m\nleft      1m\nwaiters   0\ndeclared  10s\n"
	for _, row := range []struct {
		lock   client.LockInfo
		output outputFormat
		want   string // a prefix
		err    error
	}{
		{sampleLocks[2], formatTable, free, client.ErrNotHeld},
		{sampleLocks[2], formatJSON, "{\n  \"key\": \"rtm||1||free\"", client.ErrNotHeld},
		{sampleLocks[3], formatTable, held, nil},
		{sampleLocks[3], formatJSON, "{\n  \"key\": \"rtm||1||held\"", nil},
	} {
		var out bytes.Buffer
		if err := printLock(&out, row.lock, row.output); !errors.Is(err, row.err) || !strings.HasPrefix(out.String(), row.want) {
			t.Errorf("%v; got\n%s\nwant\n%s", err, out.String(), row.want)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for _, row := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "-"},
		{0, "-"},
		{time.Nanosecond, "1ms"},
		{1499 * time.Microsecond, "1ms"},
		{999 * time.Millisecond, "999ms"},
		{2345 * time.Millisecond, "2.3s"},
		{9960 * time.Millisecond, "10s"},
		{29876 * time.Millisecond, "30s"},
		{time.Minute, "1m"},
		{10 * time.Minute, "10m"},
		{12*time.Minute + 30*time.Second, "12m30s"},
		{59*time.Minute + 59900*time.Millisecond, "1h"},
		{20 * time.Hour, "20h"},
		{20*time.Hour + 5*time.Minute, "20h5m"},
		{24 * time.Hour, "1d"},
		{76*time.Hour + 10*time.Minute, "3d4h"},
		{(1<<31 - 1) * time.Second, "24855d3h"},
	} {
		if got := formatDuration(row.d); got != row.want {
			t.Errorf("%v is %q, want %q", row.d, got, row.want)
		}
	}
}

func TestQuoteIfNeeded(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"orders/17", "orders/17"},
		{"app||order-1", "app||order-1"},
		{"schloß", "schloß"},
		{"", `""`},
		{"two words", `"two words"`},
		{"tab\there", `"tab\there"`},
		{"\x1b[31mred", `"\x1b[31mred"`},
		{"\u202eleft", `"\u202eleft"`},
		{"bad\xff", `"bad\xff"`},
		{`say "hi"`, `"say \"hi\""`},
		{"a=b", `"a=b"`},
	} {
		if got := quoteIfNeeded(row.text); got != row.want {
			t.Errorf("%q is %s, want %s", row.text, got, row.want)
		}
	}
}

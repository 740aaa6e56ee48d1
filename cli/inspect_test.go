package cli

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/client"
)

// hideTimes replaces the remaining times, which vary.
func hideTimes(text string) string {
	return regexp.MustCompile(`("remainingMs": |  )\d+(\.\d)?(m?s|)(,|  |\n)`).ReplaceAllStringFunc(text, func(s string) string {
		if strings.Contains(s, "remaining") {
			return `"remainingMs": 0,`
		}
		return s
	})
}

func TestList_Table(t *testing.T) {
	s := startServer(t)
	s.run(t, "list").check(t, "KEY  OWNER  TOKEN  TTL  LEFT  WAITERS  DECLARED  METADATA\n", "", exitSuccess)
	b, a := s.lock(t, "b", client.TTL(time.Hour)), s.lock(t, "a", client.TTL(time.Hour))
	ownerA, ownerB := s.owner(t, "a"), s.owner(t, "b")
	head := "KEY  OWNER                                 TOKEN             TTL  LEFT  WAITERS  DECLARED  METADATA\n"
	lineA := fmt.Sprintf("a    %s  %d  1h   1h    0        -         host=alpha\n", ownerA, a.Token())
	lineB := fmt.Sprintf("b    %s  %d  1h   1h    0        -         host=alpha\n", ownerB, b.Token())
	s.run(t, "list").check(t, head+lineA+lineB, "", exitSuccess)
	s.run(t, "list", "b").check(t, head+lineB, "", exitSuccess)
	s.run(t, "list", "b", "-o", "table").check(t, head+lineB, "", exitSuccess)
}

func TestList_JSON(t *testing.T) {
	s := startServer(t)
	s.run(t, "list", "-o", "json").check(t, "[]\n", "", exitSuccess)
	lease := s.lock(t, "a<b>", client.TTL(time.Hour))
	got := s.run(t, "list", "--output", "json")
	got.out = hideTimes(got.out)
	got.check(t, fmt.Sprintf(`[
  {
    "key": "a<b>",
    "owner": "%s",
    "token": %d,
    "ttlMs": 3600000,
    "remainingMs": 0,
    "waiters": 0,
    "metadata": {
      "host": "alpha"
    }
  }
]
`, s.owner(t, "a<b>"), lease.Token()), "", exitSuccess)
}

func TestGet(t *testing.T) {
	s := startServer(t)
	lease := s.lock(t, "disk", client.TTL(time.Hour))
	s.lock(t, "disk-2", client.TTL(time.Hour))
	s.run(t, "get", "disk").check(t, fmt.Sprintf(`key      disk
owner    %s
token    %d
ttl      1h
left     1h
waiters  0
host     alpha
`, s.owner(t, "disk"), lease.Token()), "", exitSuccess)

	var got lockJSON
	r := s.run(t, "get", "disk", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	if got.RemainingMs <= 0 || got.RemainingMs > got.TTLMs {
		t.Errorf("%d ms are left", got.RemainingMs)
	}
	got.RemainingMs = 0
	want := lockJSON{
		Key: "disk", Owner: s.owner(t, "disk"), Token: lease.Token(), TTLMs: time.Hour.Milliseconds(),
		Metadata: map[string]string{"host": "alpha"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestGet_Free(t *testing.T) {
	s := startServer(t)
	s.lock(t, "disk-2")
	s.run(t, "get", "disk").check(t, "", `mortise: get "disk": lock is not held`+"\n", exitNotHeld)
	s.run(t, "get", "disk", "-o", "json").check(t, "", `mortise: get "disk": lock is not held`, exitNotHeld)
}

func TestGet_Waiters(t *testing.T) {
	s := startServer(t)
	s.lock(t, "disk")
	s.start(t, "lock", "disk", "--", "true")
	waitFor(t, "a waiter", func() bool { return strings.Contains(s.run(t, "get", "disk").out, "waiters  1\n") })
}

func TestRevoke(t *testing.T) {
	for _, row := range []struct {
		name string
		args func(owner string) []string
		err  string
		code int
	}{
		{"from its owner", func(owner string) []string { return []string{"--owner", owner} }, "", exitSuccess},
		{"from any owner", func(string) []string { return []string{"--force"} }, "", exitSuccess},
		{"from another owner", func(string) []string { return []string{"--owner", "bob"} }, `mortise: revoke "disk": lock is not held by this owner`, exitNotHeld},
		{"without an owner", func(string) []string { return nil }, "mortise: give either --owner", exitUsage},
		{"with both flags", func(owner string) []string { return []string{"--force", "--owner", owner} }, "mortise: give either --owner", exitUsage},
		{"from an empty owner", func(string) []string { return []string{"--owner", ""} }, "mortise: give either --owner", exitUsage},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := startServer(t)
			s.lock(t, "disk")
			owner := s.owner(t, "disk")
			s.run(t, append([]string{"revoke", "disk"}, row.args(owner)...)...).check(t, "", row.err, row.code)
			want := owner
			if row.code == exitSuccess {
				want = ""
			}
			if got := s.owner(t, "disk"); got != want {
				t.Errorf("afterwards the owner is %q, want %q", got, want)
			}
		})
	}
}

func TestRevoke_Free(t *testing.T) {
	s := startServer(t)
	s.run(t, "revoke", "disk", "--force").check(t, "", `mortise: revoke "disk": lock is not held`, exitNotHeld)
}

func TestWatch_Table(t *testing.T) {
	s := startServer(t)
	held := s.lock(t, "disk-0")
	owner := s.owner(t, "disk-0")
	p := s.start(t, "watch", "disk")
	p.awaitOutput(t, fmt.Sprintf("  HELD       %d  disk-0                %s\n", held.Token(), owner))
	s.lock(t, "gate")
	lease := s.lock(t, "disk-1")
	p.awaitOutput(t, fmt.Sprintf("  ACQUIRED   %d  disk-1                %s\n", lease.Token(), s.owner(t, "disk-1")))
	if err := lease.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.run(t, "revoke", "disk-0", "--force").check(t, "", "", exitSuccess)
	p.awaitOutput(t, fmt.Sprintf("  REVOKED    %d  disk-0                %s\n", held.Token(), owner))
	var kinds []string
	for line := range strings.Lines(readFile(t, p.out)) {
		kinds = append(kinds, strings.Fields(line)[1])
	}
	if got, want := fmt.Sprint(kinds), "[HELD ACQUIRED RELEASED REVOKED]"; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if text := readFile(t, p.err); text != "" {
		t.Errorf("standard error has %s", text)
	}
}

func TestWatch_JSON(t *testing.T) {
	s := startServer(t)
	p := s.start(t, "watch", "-o", "json")
	p.awaitOutput(t, "\n")
	lease := s.lock(t, "disk", client.TTL(time.Minute))
	owner := s.owner(t, "disk")
	if err := lease.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.awaitOutput(t, "RELEASED")
	var lines []eventJSON
	for line := range strings.Lines(readFile(t, p.out)) {
		var e eventJSON
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		e.Revision = 0
		lines = append(lines, e)
	}
	lock := &changeJSON{
		Key: "disk", Owner: owner, Token: lease.Token(), TTLMs: 60000, Metadata: map[string]string{"host": "alpha"},
	}
	want := []eventJSON{{Kind: "SNAPSHOT", Locks: &[]lockJSON{}}, {Kind: "ACQUIRED", Lock: lock}, {Kind: "RELEASED", Lock: lock}}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("got %s", readFile(t, p.out))
	}
}

func TestWatch_Missed(t *testing.T) {
	s := startServer(t)
	p := s.start(t, "watch", "-o", "json")
	p.awaitOutput(t, "\n")
	s.Stop()
	again := startServerIn(t, s.folder)
	p.awaitOutput(t, `"missed":true`)
	lease := again.lock(t, "disk")
	p.awaitOutput(t, fmt.Sprint(lease.Token()))
	waitFor(t, "a warning", func() bool { return strings.HasPrefix(readFile(t, p.err), "mortise: changes were missed") })
}

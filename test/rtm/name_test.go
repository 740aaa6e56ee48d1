package rtm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// symbols are the characters that names may contain besides letters and digits.
const symbols = " !#$%&()+,-:;<=>?@[]^_{|}~`"

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// goodNames are valid for users, channels and locks.
var goodNames = []string{
	"n", strings.Repeat("n", 64), strings.Repeat("|", 64), strings.Repeat("%", 64), letters, "a" + symbols, "%7C", "%25", "null",
}

// singleCharacterNames are valid names that consist of a character, or contain it.
func singleCharacterNames() (names []string) {
	for _, c := range letters + symbols {
		names = append(names, "a"+string(c)+"b")
		if c != '_' {
			names = append(names, string(c))
		}
	}
	return names
}

func TestValidNames(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		p.withEnv(t, nil, func(w *env) {
			for _, name := range goodNames {
				w.checkName(name)
			}
		})
	})
}

func TestValidNames_EachCharacter(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		p.skipVariants(t, "each character")
		p.withEnv(t, nil, func(w *env) {
			for _, name := range singleCharacterNames() {
				w.checkName(name)
			}
		})
	})
}

// checkName calls all operations with a user, a channel and a lock of this name.
func (w *env) checkName(name string) {
	w.Helper()
	u := w.user(name)
	a := request{store: component, channel: name, kind: streamType, lock: name, ttl: 30, owner: name}
	dora, _ := w.user("dora").subscribe(a)
	defer dora.disconnect()
	session, _ := u.openSession()
	defer session.disconnect()
	named := lock{channel: name, kind: streamType, name: name}
	for _, call := range []string{setLock, acquireLock, revokeLock, acquireLock, releaseLock, acquireLock} {
		got := u.must(call, a).lock
		if got.ttl, got.rev = 0, 0; got != named {
			w.Errorf("answer of %s = %+v, want %+v", call, got, named)
		}
	}
	if locks := u.locks(a); len(locks) != 1 || locks[0].name != name || locks[0].owner != name {
		w.Errorf("getLock of %q = %+v, want one lock with this name and owner", name, locks)
	}
	u.must(removeLock, a)
	kinds := []string{"SET", "ACQUIRED", "RELEASED", "ACQUIRED", "RELEASED", "ACQUIRED", "REMOVED"}
	w.checkNames(dora.channelEvents(), named, kinds)
	w.checkNames(session.sessionEvents(), named, kinds[1:])
}

// checkNames checks that the events have these types and name the lock.
func (w *env) checkNames(events []event, named lock, kinds []string) {
	w.Helper()
	var got []string
	for _, e := range events {
		got = append(got, e.kind.String())
		if e.channel != named.channel || e.lock.kind != named.kind || e.lock.name != named.name {
			w.Errorf("event %v names %+v, want %+v", e, e.lock, named)
		}
	}
	if !slices.Equal(got, kinds) {
		w.Errorf("events of %q = %v, want %v", named.name, got, kinds)
	}
}

func TestDistinctNames(t *testing.T) {
	requests := []request{
		{channel: "a", lock: "b||c"}, {channel: "a||b", lock: "c"}, {channel: "a|", lock: "|b||c"}, {channel: "a", lock: "c"},
		{channel: "a", lock: "b%7C%7Cc"}, {channel: "a%7C%7Cb", lock: "c"}, {channel: "a%", lock: "7C"}, {channel: "a%7", lock: "C"},
		{channel: "a|b", lock: "c"}, {channel: "a", lock: "C"}, {channel: "A", lock: "c"}, {channel: "a ", lock: "c"},
		{channel: "a", lock: " c"},
	}
	forEachTarget(t, func(t *testing.T, p target) {
		p.withEnv(t, nil, func(w *env) {
			for i, a := range requests {
				a.store = component
				for _, a.kind = range []channelType{messageType, streamType} {
					u := w.user(fmt.Sprintf("user %d of %v", i, a.kind))
					u.must(setLock, a)
					u.must(acquireLock, a)
				}
			}
			for i, a := range requests {
				a.store = component
				for _, a.kind = range []channelType{messageType, streamType} {
					if want := fmt.Sprintf("user %d of %v", i, a.kind); w.user("dora").state(a) != want {
						w.Errorf("owner of %q in %q = %s, want %s", a.lock, a.channel, w.user("dora").state(a), want)
					}
				}
			}
		})
	})
}

func TestGetLock_Order(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		p.withEnv(t, nil, func(w *env) {
			want := []string{" ", "!", "%", "%7C", "0", "A", "a", "a!", "a%", "a0", "aa", "a{", "a|", "a}", "b", "|", "|0", "~"}
			for _, i := range []int{5, 11, 2, 17, 9, 0, 14, 7, 3, 16, 12, 1, 8, 15, 4, 13, 10, 6} {
				w.user("ann").must(setLock, frontDesk.withLock(want[i]))
			}
			_, snapshot := w.user("dora").subscribe(frontDesk)
			for how, locks := range map[string][]lock{"getLock": w.user("ann").locks(frontDesk), "a snapshot": snapshot} {
				var got []string
				for _, l := range locks {
					got = append(got, l.name)
				}
				if !slices.Equal(got, want) {
					w.Errorf("locks in %s = %q, want %q", how, got, want)
				}
			}
		})
	})
}

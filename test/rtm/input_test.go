package rtm

import (
	"errors"
	"slices"
	"strings"
	"testing"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// The calls by what they have.
var (
	lockOperations    = []string{setLock, acquireLock, releaseLock, revokeLock, removeLock}
	channelOperations = append(slices.Clone(lockOperations), getLock, subscribe)
	userOperations    = append(slices.Clone(channelOperations), session, keepAlive, logout)
)

// names are fields that hold one, and the codes of bad ones.
var nameFields = []struct {
	field string
	calls []string
	put   func(a *request, name string)
	empty int32 // code of an empty one; 0 is none
	bad   int32
}{
	{"user", userOperations, func(a *request, name string) { a.user = name }, -10002, -10006},
	{"channel", channelOperations, func(a *request, name string) { a.channel = name }, -10008, -10008},
	{"lockName", lockOperations, func(a *request, name string) { a.lock = name }, -14005, -14005},
	{"owner", []string{revokeLock}, func(a *request, name string) { a.owner = name }, 0, -10006},
}

// badNames are names that nothing can have.
var badNames = []struct{ what, name string }{
	{"is too long", strings.Repeat("n", 65)},
	{"is far too long", strings.Repeat("n", 1<<15)},
	{"begins with an underscore", "_name"},
	{"is an underscore", "_"},
	{"has a dot", "na.me"},
	{"has an asterisk", "na*me"},
	{"has a slash", "na/me"},
	{"has a backslash", `na\me`},
	{"has a quotation mark", `na"me`},
	{"has an apostrophe", "na'me"},
	{"has a zero byte", "na\x00me"},
	{"has a line end", "name\n"},
	{"has a tab", "\tname"},
	{"has a delete", "name\x7f"},
	{"has an accent", "némo"},
	{"has Chinese letters", "锁"},
	{"has a wide space", "na\u3000me"},
}

// badValues are fields that hold something else.
var badValues = []struct {
	name  string
	calls []string
	spoil func(a *request)
	code  int32
	says  string // part of the reason
}{
	{"no type of channel", channelOperations, func(a *request) { a.kind = rtmpb.ChannelType_NONE }, -10019, "channelType"},
	{"the type of users", channelOperations, func(a *request) { a.kind = 3 }, -10019, "channelType"},
	{"a type of channel that is not", channelOperations, func(a *request) { a.kind = 7 }, -10019, "channelType"},
	{"a negative type of channel", channelOperations, func(a *request) { a.kind = -1 }, -10019, "channelType"},
	{"a component that is not", userOperations, func(a *request) { a.store = "nowhere" }, -14009, "nowhere"},
	{"a component in capital letters", userOperations, func(a *request) { a.store = "LOCKS" }, -14009, "LOCKS"},
	{"a held lock without a channel", claimCalls, func(a *request) { a.held[1].channel = "" }, -10008, "channel"},
	{"a held lock of no type of channel", claimCalls, func(a *request) { a.held[1].kind = 0 }, -10019, "channelType"},
	{"a held lock without a name", claimCalls, func(a *request) { a.held[1].name = "" }, -14005, "lockName"},
}

// holding are the calls that tell what their user believes to hold.
var claimCalls = []string{session, keepAlive}

func TestInvalidNames(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		for _, f := range nameFields {
			if f.empty != 0 {
				p.runWithEnv(t, f.field+" is empty", func(w *env) {
					w.checkRejected(f.calls, f.empty, f.field, func(a *request) { f.put(a, "") })
				})
			}
			for _, bad := range badNames {
				p.runWithEnv(t, f.field+" "+bad.what, func(w *env) {
					w.checkRejected(f.calls, f.bad, f.field, func(a *request) { f.put(a, bad.name) })
				})
			}
		}
	})
}

func TestInvalidUTF8(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		for _, f := range nameFields {
			p.runWithEnv(t, f.field, func(w *env) {
				spoil := func(a *request) { f.put(a, "na\xffme") }
				switch _, http := w.apis[0].(*overHTTP); {
				case isDirect(w.apis[0]):
					w.checkRejected(f.calls, f.bad, f.field, spoil)
				case http: // JSON is text, and what reads it does not tell what was in place of it
					w.checkRejected(f.calls, -10014, f.field, spoil)
				default:
					w.checkNotSent(f.calls, spoil)
				}
			})
		}
	})
}

// unsent checks that gRPC's client does not send the requests.
func (w *env) checkNotSent(calls []string, spoil func(a *request)) {
	for _, call := range calls {
		a := frontDesk
		a.user = "ann"
		spoil(&a)
		if err := w.callOrOpen(call, a); !errors.Is(err, errNoText) {
			w.Errorf("%s: %v", call, err)
		}
	}
}

func TestInvalidValues(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		for _, row := range badValues {
			p.runWithEnv(t, row.name, func(w *env) { w.checkRejected(row.calls, row.code, row.says, row.spoil) })
		}
	})
}

// refused makes each of the calls with a request that is spoiled, and checks that it
// fails with the code, that its reason says why, and that nothing has changed by it.
func (w *env) checkRejected(calls []string, code int32, says string, spoil func(a *request)) {
	w.checkUnchanged(func() {
		for _, call := range calls {
			a := frontDesk
			a.user = "ann"
			a.held = []lock{{"house", messageType, "front desk", "ann", 30, 1}, {"house", messageType, "back desk", "ann", 30, 2}}
			spoil(&a)
			w.checkStatus(call, w.callOrOpen(call, a), code, says)
		}
	})
}

// unharmed checks that nothing changes by what is done, in a channel with a lock that bob
// holds and one that nobody does.
func (w *env) checkUnchanged(do func()) {
	bob := w.user("bob")
	bob.must(setLock, frontDesk)
	bob.must(setLock, frontDesk.withLock("back desk"))
	bob.must(acquireLock, frontDesk)
	dora, before := w.user("dora").subscribe(frontDesk)
	do()
	if after := dora.locks(frontDesk); !slices.Equal(before, after) {
		w.Errorf("before there was %v, afterwards %v", before, after)
	}
	if seen := dora.channelEvents(); len(seen) > 0 {
		w.Errorf("the channel sees %q", describe(seen))
	}
}

// checkStatus checks the code and the reason of an error.
func (w *env) checkStatus(call string, err error, code int32, says string) {
	w.Helper()
	if got := w.codeOf(call, err); got != code {
		w.Errorf("%s ends with %d, want %d: %v", call, got, code, err)
		return
	}
	if f, ok := errors.AsType[*statusError](err); !ok || !strings.Contains(f.reason, says) {
		w.Errorf("%s fails because %v, which does not say %q", call, err, says)
	}
}

// attempt makes a call, or opens a stream and takes its first event.
func (w *env) callOrOpen(call string, a request) error {
	if call != subscribe && call != session {
		_, err := w.apis[0].call(w.ctx, call, a)
		return err
	}
	s, err := w.apis[0].open(w.ctx, call, a)
	if err != nil {
		return err
	}
	_, err = s.next()
	return err
}

func TestSetLock_TTLBounds(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		for _, bounds := range []struct {
			name     string
			metadata map[string]string
			rows     map[uint32]uint32
		}{
			{"of RTM", nil, map[uint32]uint32{
				0: 10, 1: 10, 9: 10, 10: 10, 11: 11, 299: 299, 300: 300, 301: 300, 3600: 300, 1 << 31: 300, 1<<32 - 1: 300,
			}},
			{"of the component", map[string]string{"rtmMinTTL": "5s", "rtmDefaultTTL": "20s", "rtmMaxTTL": "60"}, map[uint32]uint32{
				0: 20, 1: 5, 4: 5, 5: 5, 6: 6, 59: 59, 60: 60, 61: 60, 1<<32 - 1: 60,
			}},
		} {
			t.Run(bounds.name, func(t *testing.T) {
				p.withEnv(t, bounds.metadata, func(w *env) {
					for asked, want := range bounds.rows {
						w.checkTTL(asked, want)
					}
				})
			})
		}
	})
}

// checkTTL checks who is told of a lock's TTL.
func (w *env) checkTTL(asked, want uint32) {
	ann := w.user("ann")
	dora, _ := w.user("dora").subscribe(frontDesk)
	defer dora.disconnect()
	a := frontDesk
	a.ttl = asked
	set, acquired := ann.must(setLock, a).ttl, ann.must(acquireLock, a).ttl
	l, _ := ann.findLock(a)
	if set != want || acquired != want || l.ttl != want {
		w.Errorf("a TTL of %d: setLock tells %d, acquireLock %d, getLock %d, want %d", asked, set, acquired, l.ttl, want)
	}
	ann.must(removeLock, a)
	for _, e := range dora.channelEvents() {
		if e.ttl != want {
			w.Errorf("a TTL of %d: %v tells %d, want %d", asked, e, e.ttl, want)
		}
	}
}

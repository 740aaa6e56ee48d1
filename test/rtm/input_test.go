package rtm

import (
	"errors"
	"slices"
	"strings"
	"testing"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// The operations by the fields of their requests.
var (
	lockOperations    = []string{setLock, acquireLock, releaseLock, revokeLock, removeLock}
	channelOperations = append(slices.Clone(lockOperations), getLock, subscribe)
	userOperations    = append(slices.Clone(channelOperations), session, keepAlive, logout)
)

// nameFields are the fields that contain names, with the codes for invalid names.
var nameFields = []struct {
	field string
	calls []string
	put   func(a *request, name string)
	empty int32 // code for an empty name; 0 if it is valid
	bad   int32 // code for any other invalid name
}{
	{"user", userOperations, func(a *request, name string) { a.user = name }, -10002, -10006},
	{"channel", channelOperations, func(a *request, name string) { a.channel = name }, -10008, -10008},
	{"lockName", lockOperations, func(a *request, name string) { a.lock = name }, -14005, -14005},
	{"owner", []string{revokeLock}, func(a *request, name string) { a.owner = name }, 0, -10006},
}

// badNames are invalid for users, channels and locks.
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

// badValues are invalid values of other fields.
var badValues = []struct {
	name  string
	calls []string
	spoil func(a *request)
	code  int32
	says  string // part of the reason
}{
	{"no channel type", channelOperations, func(a *request) { a.kind = rtmpb.ChannelType_NONE }, -10019, "channelType"},
	{"the channel type of users", channelOperations, func(a *request) { a.kind = 3 }, -10019, "channelType"},
	{"an unknown channel type", channelOperations, func(a *request) { a.kind = 7 }, -10019, "channelType"},
	{"a negative channel type", channelOperations, func(a *request) { a.kind = -1 }, -10019, "channelType"},
	{"an unknown component", userOperations, func(a *request) { a.store = "nowhere" }, -14009, "nowhere"},
	{"a component in upper case", userOperations, func(a *request) { a.store = "LOCKS" }, -14009, "LOCKS"},
	{"a held lock without a channel", claimCalls, func(a *request) { a.held[1].channel = "" }, -10008, "channel"},
	{"a held lock without a channel type", claimCalls, func(a *request) { a.held[1].kind = 0 }, -10019, "channelType"},
	{"a held lock without a name", claimCalls, func(a *request) { a.held[1].name = "" }, -14005, "lockName"},
}

// claimCalls are the operations whose requests list the locks that the client assumes to
// hold.
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
				case http: // rejects invalid UTF-8 when it decodes JSON
					w.checkRejected(f.calls, -10014, f.field, spoil)
				default:
					w.checkNotSent(f.calls, spoil)
				}
			})
		}
	})
}

// checkNotSent checks that gRPC's client does not send the requests.
func (w *env) checkNotSent(calls []string, spoil func(a *request)) {
	for _, call := range calls {
		a := frontDesk
		a.user = "ann"
		spoil(&a)
		if err := w.callOrOpen(call, a); !errors.Is(err, errInvalidUTF8) {
			w.Errorf("%s = %v, want errInvalidUTF8", call, err)
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

// checkRejected calls each operation with a spoiled request. It checks that the operation
// fails with the code, that its reason contains says, and that it changes nothing.
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

// checkUnchanged checks that do changes nothing in a channel with a lock of bob and a
// free one.
func (w *env) checkUnchanged(do func()) {
	bob := w.user("bob")
	bob.must(setLock, frontDesk)
	bob.must(setLock, frontDesk.withLock("back desk"))
	bob.must(acquireLock, frontDesk)
	dora, before := w.user("dora").subscribe(frontDesk)
	do()
	if after := dora.locks(frontDesk); !slices.Equal(before, after) {
		w.Errorf("locks = %v, want %v as before", after, before)
	}
	if events := dora.channelEvents(); len(events) > 0 {
		w.Errorf("events of the channel = %q, want none", describe(events))
	}
}

// checkStatus checks the code and the reason of an error.
func (w *env) checkStatus(call string, err error, code int32, says string) {
	w.Helper()
	if got := w.codeOf(call, err); got != code {
		w.Errorf("code of %s = %d, want %d: %v", call, got, code, err)
		return
	}
	if f, ok := errors.AsType[*statusError](err); !ok || !strings.Contains(f.reason, says) {
		w.Errorf("%s = %v, want a reason that contains %q", call, err, says)
	}
}

// callOrOpen calls an operation, or opens a stream and reads its first event.
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

// checkTTL checks the TTL in all answers and events about a lock.
func (w *env) checkTTL(asked, want uint32) {
	ann := w.user("ann")
	dora, _ := w.user("dora").subscribe(frontDesk)
	defer dora.disconnect()
	a := frontDesk
	a.ttl = asked
	set, acquired := ann.must(setLock, a).ttl, ann.must(acquireLock, a).ttl
	l, _ := ann.findLock(a)
	if set != want || acquired != want || l.ttl != want {
		w.Errorf("TTL of %d: setLock = %d, acquireLock = %d, getLock = %d, want %d", asked, set, acquired, l.ttl, want)
	}
	ann.must(removeLock, a)
	for _, e := range dora.channelEvents() {
		if e.ttl != want {
			w.Errorf("TTL of %d: event %v has %d, want %d", asked, e, e.ttl, want)
		}
	}
}

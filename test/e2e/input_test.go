// Invalid and unusual requests, through the whole chain.
package e2e

import (
	"math"
	"strings"
	"testing"
)

// The largest size in bytes of the key and the owner. daprd puts keyPrefix before the
// app's resource ID.
const (
	maxLength = 1024
	keyPrefix = "lock||app||"
)

// badRequests are rejected by every store and through every API, with an error that names
// the cause.
var badRequests = []struct {
	name   string
	bad    request
	errors []string // parts of the error
	forAll bool     // also invalid for an unlock
}{
	{"empty resource", request{"", "alice", 1}, []string{"ResourceId is empty"}, true},
	{"empty owner", request{"report", "", 1}, []string{"LockOwner is empty"}, true},
	{"resource too long", request{strings.Repeat("r", maxLength-len(keyPrefix)+1), "alice", 1},
		[]string{"resource_id must be at most 1024 bytes, got 1025"}, true},
	{"owner too long", request{"report", strings.Repeat("a", maxLength+1), 1},
		[]string{"lock_owner must be at most 1024 bytes, got 1025"}, true},
	{"resource enormous", request{strings.Repeat("r", 1<<20), "alice", 1}, []string{"resource_id must be at most 1024 bytes"}, true},
	{"resource not UTF-8", request{"\xff\xfe", "alice", 1}, []string{"invalid UTF-8"}, true},
	{"owner not UTF-8", request{"report", "\xc3\x28", 1}, []string{"invalid UTF-8"}, true},
	{"separator in resource", request{"a||b", "alice", 1}, []string{"'a||b' can't contain '||'"}, true},
	{"expiry zero", request{"report", "alice", 0}, []string{"ExpiryInSeconds is not positive"}, false},
	{"expiry negative", request{"report", "alice", -1}, []string{"ExpiryInSeconds is not positive"}, false},
	{"expiry most negative", request{"report", "alice", math.MinInt32}, []string{"ExpiryInSeconds is not positive"}, false},
}

func TestRequest_Invalid(t *testing.T) {
	t.Parallel()
	forEachStoreAndAPI(t, func(t *testing.T, u user) {
		for _, row := range badRequests {
			granted, err := u.tryLock(row.bad)
			if err == nil || !containsAll(err.Error(), row.errors) {
				t.Errorf("%s: lock: got %t, %v; want an error with %q", row.name, granted, err, row.errors)
			}
			if row.forAll {
				got, err := u.unlock(row.bad)
				if err == nil || !containsAll(err.Error(), row.errors) {
					t.Errorf("%s: unlock: got %d, %v; want an error with %q", row.name, got, err, row.errors)
				}
			}
			u.acquires("report", "alice")
			u.unlocks("report", "alice")
		}
	})
}

func TestRequest_Unusual(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name string
		ask  request
	}{
		{"longest expiry", request{"report", "alice", math.MaxInt32}},
		{"longest resource", request{strings.Repeat("r", maxLength-len(keyPrefix)), "alice", minute}},
		{"longest owner", request{"report", strings.Repeat("a", maxLength), minute}},
		{"beyond ASCII", request{"报告 📄/é", "愛麗絲", minute}},
		{"one pipe and braces", request{"a|b{c}*?[d]", "alice:1", minute}},
		{"blanks", request{" ", "  ", minute}},
	}
	forEachStoreAndAPI(t, func(t *testing.T, u user) {
		for _, row := range rows {
			if granted, err := u.tryLock(row.ask); err != nil || !granted {
				t.Errorf("%s: got %t, %v; want it granted", row.name, granted, err)
				continue
			}
			u.isRefused(row.ask.resource, "bob")
			u.unlocks(row.ask.resource, row.ask.owner)
		}
	})
}

func TestRequest_UnknownStore(t *testing.T) {
	t.Parallel()
	app := startSidecar(t, startMortise(t), "app", newResources(t, memory("locks")))
	for name, api := range app.apis() {
		t.Run("through "+name, func(t *testing.T) {
			u := user{t: t, api: api, store: "loks"}
			u.fails(request{"report", "alice", minute}, "lock store loks not found")
		})
	}
}

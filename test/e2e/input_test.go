// Requests that make no sense, through the whole chain.
package e2e

import (
	"math"
	"strings"
	"testing"
)

// Sizes in bytes that the key and the owner may have. daprd puts keyPrefix before the
// app's resource id.
const (
	most      = 1024
	keyPrefix = "lock||app||"
)

// badRequests are refused by every store and through every API, with an error that tells
// what is wrong.
var badRequests = []struct {
	name   string
	bad    request
	errors []string // each of which the error contains
	forAll bool     // an unlock is as wrong
}{
	{"empty resource", request{"", "alice", 1}, []string{"ResourceId is empty"}, true},
	{"empty owner", request{"report", "", 1}, []string{"LockOwner is empty"}, true},
	{"resource too long", request{strings.Repeat("r", most-len(keyPrefix)+1), "alice", 1},
		[]string{"resource_id must be at most 1024 bytes, got 1025"}, true},
	{"owner too long", request{"report", strings.Repeat("a", most+1), 1},
		[]string{"lock_owner must be at most 1024 bytes, got 1025"}, true},
	{"resource enormous", request{strings.Repeat("r", 1<<20), "alice", 1}, []string{"resource_id must be at most 1024 bytes"}, true},
	{"resource not UTF-8", request{"\xff\xfe", "alice", 1}, []string{"invalid UTF-8"}, true},
	{"owner not UTF-8", request{"report", "\xc3\x28", 1}, []string{"invalid UTF-8"}, true},
	{"separator in resource", request{"a||b", "alice", 1}, []string{"'a||b' can't contain '||'"}, true},
	{"expiry zero", request{"report", "alice", 0}, []string{"ExpiryInSeconds is not positive"}, false},
	{"expiry negative", request{"report", "alice", -1}, []string{"ExpiryInSeconds is not positive"}, false},
	{"expiry most negative", request{"report", "alice", math.MinInt32}, []string{"ExpiryInSeconds is not positive"}, false},
}

func TestABadRequestIsRefusedByNameAndHarmsNothing(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, u user) {
		for _, row := range badRequests {
			granted, err := u.tryLock(row.bad)
			if err == nil || !containsAll(err.Error(), row.errors) {
				t.Errorf("%s: take: got %t, %v; want an error with %q", row.name, granted, err, row.errors)
			}
			if row.forAll {
				got, err := u.unlock(row.bad)
				if err == nil || !containsAll(err.Error(), row.errors) {
					t.Errorf("%s: free: got %d, %v; want an error with %q", row.name, got, err, row.errors)
				}
			}
			u.takes("report", "alice")
			u.frees("report", "alice")
		}
	})
}

func TestWhatIsUnusualButRightIsGranted(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name string
		ask  request
	}{
		{"longest expiry", request{"report", "alice", math.MaxInt32}},
		{"longest resource", request{strings.Repeat("r", most-len(keyPrefix)), "alice", minute}},
		{"longest owner", request{"report", strings.Repeat("a", most), minute}},
		{"beyond ASCII", request{"报告 📄/é", "愛麗絲", minute}},
		{"one pipe and braces", request{"a|b{c}*?[d]", "alice:1", minute}},
		{"blanks", request{" ", "  ", minute}},
	}
	everyWay(t, func(t *testing.T, u user) {
		for _, row := range rows {
			if granted, err := u.tryLock(row.ask); err != nil || !granted {
				t.Errorf("%s: got %t, %v; want it granted", row.name, granted, err)
				continue
			}
			u.isRefused(row.ask.resource, "bob")
			u.frees(row.ask.resource, row.ask.owner)
		}
	})
}

func TestARequestForAStoreThatIsNotThereNamesIt(t *testing.T) {
	t.Parallel()
	app := startSidecar(t, startMortise(t), "app", newResources(t, memory("locks")))
	for way, api := range app.apis() {
		t.Run("through "+way, func(t *testing.T) {
			u := user{t: t, api: api, store: "loks"}
			u.fails(request{"report", "alice", minute}, "lock store loks not found")
		})
	}
}

package e2e

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

const (
	granted      = `{"success":true}`
	refused      = `{"success":false}`
	malformed    = "ERR_MALFORMED_REQUEST"
	noRoute      = "failed getting app id either from the URL path or the header dapr-app-id"
	maxBody      = 4 << 20 // bytes
	expiryOne    = 1200 * time.Millisecond
	aliceTryLock = `{"resourceId":"report","lockOwner":"alice","expiryInSeconds":60}`
	aliceUnlock  = `{"resourceId":"report","lockOwner":"alice"}`
	notPositive  = "ExpiryInSeconds is not positive in lock store locks"
)

// httpTryLock and httpUnlock return calls with a JSON body.
func httpTryLock(resource, owner string, seconds int32) call {
	return lockPost("locks", string(request{resource, owner, seconds}.json()))
}

func httpUnlock(resource, owner string) call {
	return unlockPost("locks", fmt.Sprintf(`{"resourceId":"%s","lockOwner":"%s"}`, resource, owner))
}

// httpLocks are the usual calls of an app.
var httpLocks = []exchange{
	{name: "a free lock is granted", call: httpTryLock("report", "alice", 60), want: granted},
	{name: "its owner is refused", call: httpTryLock("report", "alice", 60), want: refused},
	{name: "others are refused", call: httpTryLock("report", "bob", 60), want: refused},
	{name: "another lock is free", call: httpTryLock("letter", "bob", 60), want: granted},
	{name: "others cannot unlock", call: httpUnlock("report", "bob"), want: `{"status":2}`},
	{name: "a free lock cannot be unlocked", call: httpUnlock("memo", "bob"), want: `{"status":1}`},
	{name: "its owner unlocks", call: httpUnlock("report", "alice"), want: `{"status":0}`},
	{name: "but not twice", call: httpUnlock("report", "alice"), want: `{"status":1}`},
	{name: "a lock for a second is granted", call: httpTryLock("brief", "alice", 1), want: granted},
	{name: "it cannot be unlocked after its expiry", call: httpUnlock("brief", "alice"),
		want: `{"status":1}`, after: expiryOne},
	{name: "and is free for others", call: httpTryLock("brief", "bob", 60), want: granted},
	{name: "the longest lease", call: httpTryLock("long", "a", 2147483647), want: granted},
	{name: "names of all languages", call: httpTryLock(`Zürich 東京 \u0000\n`, `ö\u2028`, 60),
		want: granted},
	{name: "half a separator", call: httpTryLock("a|b|", "a||b", 60), want: granted},
}

// httpJSON are variants of JSON, valid and invalid.
var httpJSON = []exchange{
	{name: "names with underscores", call: lockPost("locks", `{"resource_id":"j1","lock_owner":"a","expiry_in_seconds":60}`),
		want: granted},
	{name: "a number as text", call: lockPost("locks", `{"resourceId":"j2","lockOwner":"a","expiryInSeconds":"60"}`),
		want: granted},
	{name: "a number with a point", call: lockPost("locks", `{"resourceId":"j3","lockOwner":"a","expiryInSeconds":60.0}`),
		want: granted},
	{name: "a number with an exponent", call: lockPost("locks", `{"resourceId":"j4","lockOwner":"a","expiryInSeconds":6e1}`),
		want: granted},
	{name: "unknown fields", call: lockPost("locks", `{"resourceId":"j5","lockOwner":"a","expiryInSeconds":60,"x":[{"y":null}]}`),
		want: granted},
	{name: "the store in the body",
		call: lockPost("locks", `{"storeName":"nix","resourceId":"j6","lockOwner":"a","expiryInSeconds":60}`),
		want: granted},
	{name: "spaces and lines", call: lockPost("locks", " \r\n\t"+aliceTryLock+"\n "), want: granted},
	{name: "a query is ignored", call: unlockPost("locks?storeName=nix", aliceUnlock), want: `{"status":0}`},
	{name: "another type of content", call: post("/v1.0-alpha1/unlock/locks", aliceUnlock).with("Content-Type", "text/plain"),
		want: `{"status":1}`},
	{name: "a body in chunks", call: httpCall{method: "POST", path: "/v1.0-alpha1/unlock/locks", body: aliceUnlock, chunked: true},
		want: `{"status":1}`},
	{name: "the largest body", call: unlockPost("locks", aliceUnlock+strings.Repeat(" ", maxBody-len(aliceUnlock))),
		want: `{"status":1}`},
	{name: "a body that is too large", call: unlockPost("locks", aliceUnlock+strings.Repeat(" ", maxBody+2-len(aliceUnlock))),
		// daprd accepts one byte too many.
		want: "failed to read request body: stream too large"},
	{name: "a body that is far too large", call: unlockPost("locks", strings.Repeat(" ", 2*maxBody)), want: "stream too large"},
	{name: "no body", call: lockPost("locks", ""), want: notPositive},
	{name: "no body to unlock", call: unlockPost("locks", ""), want: "ResourceId is empty in lock store locks"},
	{name: "only a space", call: lockPost("locks", " "), want: malformed},
	{name: "null", call: lockPost("locks", "null"), want: malformed},
	{name: "a list", call: lockPost("locks", "[]"), want: malformed},
	{name: "a text", call: lockPost("locks", `"x"`), want: malformed},
	{name: "a truncated body", call: lockPost("locks", aliceTryLock[:20]), want: malformed},
	{name: "text behind the object", call: lockPost("locks", aliceTryLock+"x"), want: malformed},
	{name: "a trailing comma", call: lockPost("locks", `{"resourceId":"a",}`), want: malformed},
	{name: "a field twice", call: lockPost("locks", `{"resourceId":"a","resourceId":"b"}`), want: malformed},
	{name: "a field by both its names", call: lockPost("locks", `{"resourceId":"a","resource_id":"b"}`), want: malformed},
	{name: "single quotes", call: lockPost("locks", `{'resourceId':'a'}`), want: malformed},
	{name: "invalid UTF-8", call: lockPost("locks", "{\"resourceId\":\"\xff\"}"), want: malformed},
	{name: "half a surrogate", call: lockPost("locks", `{"resourceId":"\ud800"}`), want: malformed},
	{name: "a byte order mark", call: lockPost("locks", "\ufeff{}"), want: malformed},
	{name: "names in another case are unknown", call: lockPost("locks", `{"ExpiryInSeconds":60}`), want: notPositive},
}

// httpFields are invalid values in valid JSON, and which of several errors is returned.
var httpFields = []exchange{
	{name: "a fraction", call: lockPost("locks", `{"expiryInSeconds":1.5}`), want: malformed},
	{name: "a number that is too large", call: lockPost("locks", `{"expiryInSeconds":2147483648}`), want: malformed},
	{name: "a string that is not a number", call: lockPost("locks", `{"expiryInSeconds":"x"}`), want: malformed},
	{name: "a number with a space", call: lockPost("locks", `{"expiryInSeconds":" 1"}`), want: malformed},
	{name: "an empty number", call: lockPost("locks", `{"expiryInSeconds":""}`), want: malformed},
	{name: "a boolean for a number", call: lockPost("locks", `{"expiryInSeconds":true}`), want: malformed},
	{name: "a list for a number", call: lockPost("locks", `{"expiryInSeconds":[1]}`), want: malformed},
	{name: "a number for a string", call: lockPost("locks", `{"resourceId":5}`), want: malformed},
	{name: "an object for a string", call: unlockPost("locks", `{"lockOwner":{}}`), want: malformed},
	{name: "a store that is not a string", call: unlockPost("locks", `{"storeName":1}`), want: malformed},
	{name: "null for a number", call: lockPost("locks", `{"expiryInSeconds":null}`), want: notPositive},
	{name: "null for a string", call: unlockPost("locks", `{"resourceId":null}`), want: "ResourceId is empty"},
	{name: "zero seconds", call: lockPost("locks", `{"resourceId":"f","lockOwner":"a","expiryInSeconds":0}`), want: notPositive},
	{name: "negative seconds", call: lockPost("locks", `{"resourceId":"f","lockOwner":"a","expiryInSeconds":-1}`),
		want: notPositive},
	{name: "seconds come first", call: lockPost("nix", `{"expiryInSeconds":-2147483648}`),
		want: "not positive in lock store nix"},
	{name: "then the resource", call: lockPost("nix", `{"expiryInSeconds":1}`), want: "ResourceId is empty in lock store nix"},
	{name: "then the owner", call: lockPost("nix", `{"expiryInSeconds":1,"resourceId":"a||b"}`),
		want: "LockOwner is empty in lock store nix"},
	{name: "then the store", call: lockPost("nix", `{"expiryInSeconds":1,"resourceId":"a||b","lockOwner":"a"}`),
		want: "lock store nix not found"},
	{name: "then a separator in the resource",
		call: lockPost("locks", `{"expiryInSeconds":1,"resourceId":"a||b","lockOwner":"a"}`),
		want: "ERR_TRY_LOCK"},
	{name: "to unlock: the resource", call: unlockPost("nix", `{"lockOwner":""}`), want: "ResourceId is empty in lock store nix"},
	{name: "to unlock: the owner", call: unlockPost("nix", `{"resourceId":"a||b"}`),
		want: "LockOwner is empty in lock store nix"},
	{name: "to unlock: the store", call: unlockPost("nix", `{"resourceId":"a||b","lockOwner":"a"}`),
		want: "lock store nix not found"},
	{name: "to unlock: a separator", call: unlockPost("locks", `{"resourceId":"||<&>\"","lockOwner":"a"}`), want: "ERR_UNLOCK"},
}

// httpRoutes are spellings of routes, and unknown paths and methods.
var httpRoutes = []exchange{
	{name: "another case of the store", call: unlockPost("Locks", aliceUnlock), want: "lock store Locks not found"},
	{name: "an escaped store", call: unlockPost("l%6fcks", aliceUnlock), want: `{"status":1}`},
	{name: "an escaped slash in a store", call: unlockPost("a%2Fb%20c+d%25", aliceUnlock), want: "lock store a/b c d% not found"},
	{name: "HTML characters in a store", call: unlockPost("%3C&%3E%22", aliceUnlock), want: `\u003c\u0026\u003e`},
	{name: "a store in other letters", call: unlockPost("東京", aliceUnlock), want: "lock store 東京 not found"},
	{name: "repeated slashes", call: post("//v1.0-alpha1///unlock//locks//", aliceUnlock), want: `{"status":1}`},
	{name: "dots", call: post("/v1.0-alpha1/./lock/x/../../unlock/locks/.", aliceUnlock), want: `{"status":1}`},
	{name: "an escaped route", call: post("/v1.0-alpha1/%75nlock/locks", aliceUnlock), want: noRoute},
	{name: "a route in capitals", call: post("/v1.0-alpha1/UNLOCK/locks", aliceUnlock), want: noRoute},
	{name: "no store", call: unlockPost("", aliceUnlock), want: noRoute},
	{name: "a path behind the store", call: unlockPost("locks/x", aliceUnlock), want: noRoute},
	{name: "another version of the lock", call: post("/v1.0/lock/locks", aliceTryLock), want: noRoute},
	{name: "another version of the metadata", call: get("/v1.0-alpha1/metadata"), want: noRoute},
	{name: "GET a lock", call: get("/v1.0-alpha1/lock/locks"), want: noRoute},
	{name: "PUT a lock", call: httpCall{method: "PUT", path: "/v1.0-alpha1/lock/locks", body: aliceTryLock}, want: noRoute},
	{name: "DELETE a lock", call: httpCall{method: "DELETE", path: "/v1.0-alpha1/unlock/locks"}, want: noRoute},
	{name: "OPTIONS of a lock", call: httpCall{method: "OPTIONS", path: "/v1.0-alpha1/lock/locks"}, want: noRoute},
	{name: "HEAD of a lock", call: httpCall{method: "HEAD", path: "/v1.0-alpha1/lock/locks"}, want: "404"},
	{name: "an unknown method", call: httpCall{method: "LOCK", path: "/v1.0-alpha1/lock/locks"}, want: noRoute},
	{name: "the root", call: get("/"), want: noRoute},
	{name: "another path", call: get("/favicon.ico"), want: noRoute},
	{name: "an API without a name", call: get("/v1.0/state"), want: noRoute},
	{name: "an API that does not exist", call: post("/v1.0-alpha1/renew/locks", aliceTryLock), want: noRoute},
	{name: "an invocation without a method", call: get("/v1.0/invoke/app"), want: noRoute},
	{name: "a header that is too large", call: get("/v1.0/healthz").with("X", strings.Repeat("x", 16<<10)), want: "431"},
}

// httpHealth are calls that check whether a sidecar is healthy.
var httpHealth = []exchange{
	{name: "the health", call: get("/v1.0/healthz"), want: "204"},
	{name: "the health of the app", call: get("/v1.0/healthz?appid=app"), want: "204"},
	{name: "the health of another app", call: get("/v1.0/healthz?appid=other"), want: "ERR_HEALTH_APPID_NOT_MATCH"},
	{name: "the health of no app", call: get("/v1.0/healthz?appid"), want: "ERR_HEALTH_APPID_NOT_MATCH"},
	{name: "the health with slashes", call: get("//v1.0/healthz//"), want: "204"},
	{name: "the health with a body", call: httpCall{method: "GET", path: "/v1.0/healthz", body: "["}, want: "204"},
	{name: "the health outbound", call: get("/v1.0/healthz/outbound"), want: "204"},
	{name: "the health outbound of another app", call: get("/v1.0/healthz/outbound?appid=other"), want: "204"},
	{name: "HEAD of the health", call: httpCall{method: "HEAD", path: "/v1.0/healthz"}, want: "404"},
	{name: "POST to the health", call: post("/v1.0/healthz", ""), want: noRoute},
	{name: "a path behind the health", call: get("/v1.0/healthz/inbound"), want: noRoute},
	{name: "metadata with a bad body", call: httpCall{method: "GET", path: "/v1.0/metadata", body: "[]"}, want: malformed},
	{name: "POST to the metadata", call: post("/v1.0/metadata", "{}"), want: noRoute},
}

func TestDaprAPI_Answers(t *testing.T) {
	t.Parallel()
	daprdRedis, apiRedis := startRedis(t), startRedis(t)
	daprd := startDaprd(t, "app", builtin("locks", daprdRedis))
	api := startAPI(t, "app", builtin("locks", apiRedis))
	for _, table := range []struct {
		name string
		rows []exchange
	}{
		{"HTTP: locks", httpLocks}, {"HTTP: JSON", httpJSON}, {"HTTP: fields", httpFields},
		{"HTTP: routes", httpRoutes}, {"HTTP: health", httpHealth},
		{"gRPC: locks", grpcLocks}, {"gRPC: fields", grpcFields}, {"gRPC: methods", grpcMethods},
	} {
		t.Run(table.name, func(t *testing.T) { compareAnswers(t, daprd, api, table.rows) })
	}
	want, got := locksIn(t, daprdRedis), locksIn(t, apiRedis)
	if len(want) < 10 || !maps.Equal(want, got) {
		t.Errorf("locks of daprd\n%q\nlocks of the API\n%q", want, got)
	}
}

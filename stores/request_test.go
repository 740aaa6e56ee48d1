package stores

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestRequest_Validate(t *testing.T) {
	long := strings.Repeat("x", 1025)
	for _, row := range []struct {
		name string
		req  Request
		want string // the error, or empty
	}{
		{"the shortest names and the least TTL", Request{Key: "k", Owner: "o", TTL: time.Millisecond}, ""},
		{"the longest names and the largest TTL", Request{Key: long[:1024], Owner: long[:1024], TTL: math.MaxInt32 * time.Second}, ""},
		{"any bytes", Request{Key: "\x00", Owner: "\xff", TTL: time.Second}, ""},
		{"no key", Request{Key: "", Owner: "", TTL: 0}, "key must not be empty"},
		{"a long key", Request{Key: long, Owner: "", TTL: 0}, "key must be at most 1024 bytes, got 1025"},
		{"a key that is long in bytes", Request{Key: strings.Repeat("鍵", 342), Owner: "o", TTL: time.Second}, "key must be at most 1024 bytes, got 1026"},
		{"a key with the reserved prefix", Request{Key: "mortise:token", Owner: "", TTL: 0}, `key must not begin with "mortise:", which is reserved`},
		{"a key that is the reserved prefix", Request{Key: "mortise:"}, `key must not begin with "mortise:", which is reserved`},
		{"a key that begins with almost that", Request{Key: "mortise", Owner: "mortise:", TTL: time.Second}, ""},
		{"a key with that in the middle", Request{Key: "lock||mortise:||k", Owner: "o", TTL: time.Second}, ""},
		{"no owner", Request{Key: "k", Owner: "", TTL: 0}, "owner must not be empty"},
		{"a long owner", Request{Key: "k", Owner: long, TTL: 0}, "owner must be at most 1024 bytes, got 1025"},
		{"no TTL", Request{Key: "k", Owner: "o", TTL: 0}, "ttl must be at least 1ms, got 0s"},
		{"a negative TTL", Request{Key: "k", Owner: "o", TTL: -time.Second}, "ttl must be at least 1ms, got -1s"},
		{"a TTL below a millisecond", Request{Key: "k", Owner: "o", TTL: time.Millisecond - 1}, "ttl must be at least 1ms, got 999.999µs"},
		{"as much metadata as possible", requestWith(func(r *Request) { r.Metadata = map[string]string{"a": long[:1000], "b": strings.Repeat("x", 3094)} }), ""},
		{"too much metadata", requestWith(func(r *Request) { r.Metadata = map[string]string{"a": strings.Repeat("x", 4096)} }), "metadata must be at most 4096 bytes, got 4097"},
		{"metadata that is not text", requestWith(func(r *Request) { r.Metadata = map[string]string{"a": "\xff"} }), "metadata must be valid UTF-8"},
		{"as many owners as possible", requestWith(func(r *Request) { r.Holding = strings.Split(long[:64], "")[:64] }), ""},
		{"too many owners", requestWith(func(r *Request) { r.Holding = strings.Split(long[:65], "") }), "holding must be at most 64 owners, got 65"},
		{"an empty owner", requestWith(func(r *Request) { r.Holding = []string{""} }), "holding must not be empty"},
		{"a TTL above the largest", Request{Key: "k", Owner: "o", TTL: MaxTTL + 1}, "ttl must be at most 596523h14m7s, got 596523h14m7.000000001s"},
		{"a group that the key begins with", groupRequest("g", "gk"), ""},
		{"a group that is the key", groupRequest("gk", "gk"), ""},
		{"the longest group", groupRequest(long[:1024], long[:1024]), ""},
		{"a group of any bytes", groupRequest("\xff\x00", "\xff\x00k"), ""},
		{"a long group", groupRequest(long, long), "group must be at most 1024 bytes, got 1025"},
		{"a group without a key", groupRequest("g", ""), "key must not be empty"},
		{"a group and a long key", groupRequest("x", long), "key must be at most 1024 bytes, got 1025"},
		{"a group that the key does not begin with", groupRequest("h", "gk"), "key must begin with the group"},
		{"a group and a key with the reserved prefix", groupRequest("mort", "mortise:k"), `key must not begin with "mortise:", which is reserved`},
		{"a group that is longer than the key", groupRequest("gk", "g"), "key must begin with the group"},
		{"a group and a TTL", requestWith(func(r *Request) { r.Group = "k" }), "ttl must be zero if group is set"},
		{"a group and no owner", Request{Group: "k", Key: "k"}, "owner must not be empty"},
		{"a group and a long owner", Request{Group: "k", Key: "k", Owner: long}, "owner must be at most 1024 bytes, got 1025"},
		{"a group and bad metadata", groupRequestWith(func(r *Request) { r.Metadata = map[string]string{"\xff": ""} }), "metadata must be valid UTF-8"},
		{"a group and an empty owner", groupRequestWith(func(r *Request) { r.Holding = []string{""} }), "holding must not be empty"},
	} {
		t.Run(row.name, func(t *testing.T) { checkField(t, row.req.Validate(), row.want) })
	}
}

// requestWith returns a valid request with a change.
func requestWith(change func(*Request)) Request {
	r := Request{Key: "k", Owner: "o", TTL: time.Second}
	change(&r)
	return r
}

// groupRequest returns a valid request for a declared lock.
func groupRequest(group, key string) Request { return Request{Group: group, Key: key, Owner: "o"} }

// groupRequestWith returns a valid request for a declared lock with a change.
func groupRequestWith(change func(*Request)) Request {
	r := groupRequest("g", "gk")
	change(&r)
	return r
}

func TestDeclaration_Validate(t *testing.T) {
	long := strings.Repeat("x", 1025)
	for _, row := range []struct {
		name string
		d    Declaration
		want string // the error, or empty
	}{
		{"the shortest names and the least TTL", Declaration{Group: "g", Key: "g", TTL: MinTTL}, ""},
		{"the longest names and the largest TTL", Declaration{Group: long[1:], Key: long[1:], TTL: MaxTTL}, ""},
		{"any bytes", Declaration{Group: "\xff", Key: "\xff\x00", TTL: time.Second}, ""},
		{"a limit", Declaration{Group: "g", Key: "gk", TTL: time.Second, Limit: math.MaxInt}, ""},
		{"a limit that is none", Declaration{Group: "g", Key: "gk", TTL: time.Second, Limit: -1}, ""},
		{"no group", Declaration{Key: "k"}, "group must not be empty"},
		{"a long group", Declaration{Group: long, Key: long}, "group must be at most 1024 bytes, got 1025"},
		{"no key", Declaration{Group: "g"}, "key must not be empty"},
		{"a long key", Declaration{Group: "x", Key: long}, "key must be at most 1024 bytes, got 1025"},
		{"a group with the reserved prefix", Declaration{Group: "mortise:", Key: "mortise:k"}, `key must not begin with "mortise:", which is reserved`},
		{"a key of another group", Declaration{Group: "g", Key: "hg"}, "key must begin with the group"},
		{"no TTL", Declaration{Group: "g", Key: "gk"}, "ttl must be at least 1ms, got 0s"},
		{"a TTL below a millisecond", Declaration{Group: "g", Key: "gk", TTL: MinTTL - 1}, "ttl must be at least 1ms, got 999.999µs"},
		{"a TTL above the largest", Declaration{Group: "g", Key: "gk", TTL: MaxTTL + time.Second}, "ttl must be at most 596523h14m7s, got 596523h14m8s"},
	} {
		t.Run(row.name, func(t *testing.T) { checkField(t, row.d.Validate(), row.want) })
	}
}

// checkField checks that err is a *FieldError with the text want, or nil if want is
// empty.
func checkField(t *testing.T, err error, want string) {
	t.Helper()
	var field *FieldError
	if (err == nil) != (want == "") || err != nil && (!errors.As(err, &field) || field.Error() != want) {
		t.Errorf("Validate returned %v, want %q", err, want)
	}
}

func TestMultiRequest_Validate(t *testing.T) {
	many := make([]string, MaxKeys+1)
	for i := range many {
		many[i] = strings.Repeat("k", i+1)
	}
	for _, row := range []struct {
		name string
		keys []string
		want string // the error, or empty
	}{
		{"one key", []string{"k"}, ""},
		{"as many as possible", many[:MaxKeys], ""},
		{"none", nil, "keys must be 1 to 64, got 0"},
		{"too many", many, "keys must be 1 to 64, got 65"},
		{"an empty one", []string{"k", ""}, "keys must not be empty"},
		{"a long one", []string{strings.Repeat("k", 1025)}, "keys must be at most 1024 bytes, got 1025"},
		{"one with the reserved prefix", []string{"k", "mortise:lock:k"}, `keys must not begin with "mortise:", which is reserved`},
		{"one twice", []string{"k", "l", "k"}, "keys must not contain a key twice"},
	} {
		t.Run(row.name, func(t *testing.T) {
			checkField(t, MultiRequest{Keys: row.keys, Owner: "o", TTL: time.Second}.Validate(), row.want)
		})
	}
	err := MultiRequest{Keys: []string{"k"}, Owner: "o"}.Validate()
	if err == nil || err.Error() != "ttl must be at least 1ms, got 0s" {
		t.Errorf("without a TTL Validate returned %v", err)
	}
}

func TestValidateKey(t *testing.T) {
	for _, row := range []struct{ name, key, owner, want string }{
		{"a key and an owner", "k", "o", ""},
		{"no key", "", "o", "key must not be empty"},
		{"a key with the reserved prefix", "mortise:token", "o", `key must not begin with "mortise:", which is reserved`},
		{"no owner", "k", "", "owner must not be empty"},
	} {
		t.Run(row.name, func(t *testing.T) { checkField(t, ValidateKey(row.key, row.owner), row.want) })
	}
}

func FuzzRequest_Validate(f *testing.F) {
	f.Add("disk", "ann", int64(time.Second))
	f.Add("", "", int64(0))
	f.Add(strings.Repeat("k", 1024), strings.Repeat("o", 1025), int64(math.MaxInt64))
	f.Add("\x00", "\xff", int64(math.MinInt64))
	f.Add("mortise:", "mortise:", int64(time.Second))
	f.Fuzz(func(t *testing.T, key, owner string, ns int64) {
		within := len(key) >= 1 && len(key) <= 1024 && len(owner) >= 1 && len(owner) <= 1024 &&
			ns >= 1e6 && ns <= math.MaxInt32*1e9 && !strings.HasPrefix(key, "mortise:")
		if err := (Request{Key: key, Owner: owner, TTL: time.Duration(ns)}).Validate(); (err == nil) != within {
			t.Errorf("Validate returned %v", err)
		}
	})
}

package rtmhttp

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// The channel types.
const ofMessages, ofStreams = rtmpb.ChannelType_MESSAGE, rtmpb.ChannelType_STREAM

func TestHandler_Requests(t *testing.T) {
	const lock = `{"user":"u","channel":"c","channelType":1,"lockName":"l"`
	for _, row := range []struct {
		name, request, body string
		want                proto.Message
	}{
		{"setLock", "POST setLock", lock + `,"ttl":30}`,
			&rtmpb.SetLockRequest{Store: "s", User: "u", Channel: "c", ChannelType: ofMessages, LockName: "l", Ttl: 30}},
		{"setLock without a ttl", "POST setLock", lock + `}`,
			&rtmpb.SetLockRequest{Store: "s", User: "u", Channel: "c", ChannelType: ofMessages, LockName: "l"}},
		{"acquireLock", "POST acquireLock", lock + `,"retry":true}`,
			&rtmpb.AcquireLockRequest{Store: "s", User: "u", Channel: "c", ChannelType: ofMessages, LockName: "l", Retry: true}},
		{"releaseLock", "POST releaseLock", lock + `}`,
			&rtmpb.ReleaseLockRequest{Store: "s", User: "u", Channel: "c", ChannelType: ofMessages, LockName: "l"}},
		{"revokeLock", "POST revokeLock", lock + `,"owner":"o"}`,
			&rtmpb.RevokeLockRequest{Store: "s", User: "u", Channel: "c", ChannelType: ofMessages, LockName: "l", Owner: "o"}},
		{"getLock", "POST getLock", `{"user":"u","channel":"c","channelType":2}`,
			&rtmpb.GetLockRequest{Store: "s", User: "u", Channel: "c", ChannelType: ofStreams}},
		{"removeLock", "POST removeLock", lock + `}`,
			&rtmpb.RemoveLockRequest{Store: "s", User: "u", Channel: "c", ChannelType: ofMessages, LockName: "l"}},
		{"keepAlive", "POST keepAlive",
			`{"user":"u","held":[{"channel":"c","channelType":"STREAM","lockName":"l","lockRev":9007199254740993}]}`,
			&rtmpb.KeepAliveRequest{Store: "s", User: "u", Held: []*rtmpb.LockDetail{
				{Channel: "c", ChannelType: ofStreams, LockName: "l", LockRev: 1<<53 + 1},
			}}},
		{"logout", "POST logout", `{"user":"u","release":true}`, &rtmpb.LogoutRequest{Store: "s", User: "u", Release: true}},
		{"subscribe", "GET subscribe?user=u&channel=c&channelType=2", ``,
			&rtmpb.SubscribeRequest{Store: "s", User: "u", Channel: "c", ChannelType: ofStreams}},
		{"subscribe with the channel type by name", "GET subscribe?user=1&channel=2&channelType=MESSAGE", ``,
			&rtmpb.SubscribeRequest{Store: "s", User: "1", Channel: "2", ChannelType: ofMessages}},
		{"setLock with a query", "POST setLock?user=1&channel=true&channelType=1&lockName=null&ttl=30", ``,
			&rtmpb.SetLockRequest{Store: "s", User: "1", Channel: "true", ChannelType: ofMessages, LockName: "null", Ttl: 30}},
		{"acquireLock with a query and a body", "POST acquireLock?retry=true&lockName=2", `{"user":"u"}`,
			&rtmpb.AcquireLockRequest{Store: "s", User: "u", LockName: "2", Retry: true}},
		{"logout with a query", "POST logout?user=u&release=false", ``, &rtmpb.LogoutRequest{Store: "s", User: "u"}},
		{"session", "GET session?user=%C3%BC%20%26", ``, &rtmpb.SessionRequest{Store: "s", User: "ü &"}},
		{"session by POST with a query", "POST session?user=u", ``, &rtmpb.SessionRequest{Store: "s", User: "u"}},
		{"session with held locks", "POST session", `{"user":"u","held":[{"lockName":"a"},{"lockName":"b","owner":"u","ttl":10}]}`,
			&rtmpb.SessionRequest{Store: "s", User: "u", Held: []*rtmpb.LockDetail{
				{LockName: "a"}, {LockName: "b", Owner: "u", Ttl: 10},
			}}},
		{"session with a query and a body", "POST session?user=u", `{"held":[]}`,
			&rtmpb.SessionRequest{Store: "s", User: "u"}},
		{"the channel type by name", "POST getLock", `{"channelType":"MESSAGE"}`,
			&rtmpb.GetLockRequest{Store: "s", ChannelType: ofMessages}},
		{"a name with escapes", "POST getLock", ` {"channel": "\u0063 |%\"" } `,
			&rtmpb.GetLockRequest{Store: "s", Channel: `c |%"`}},
		{"an empty object", "POST setLock", `{}`, &rtmpb.SetLockRequest{Store: "s"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			method, operation, _ := strings.Cut(row.request, " ")
			path, _, _ := strings.Cut(operation, "?")
			s := newEmptyServer(path)
			w := sendHTTP(s, method, operation, row.body)
			if w.Code != http.StatusOK || !proto.Equal(s.received, row.want) {
				t.Errorf("server received %v, want %v; answer = %d %s", s.received, row.want, w.Code, w.Body)
			}
		})
	}
}

func TestHandler_TTLNumbers(t *testing.T) {
	for text, want := range map[string]uint32{
		"0": 0, "-0": 0, "1": 1, "30": 30, "3e1": 30, "30.0": 30, "4294967295": math.MaxUint32,
		"4294967296": math.MaxUint32, "1e+21": math.MaxUint32, "1e999": math.MaxUint32,
		"-1": 1, "-4294967296": 1, "-1e999": 1,
	} {
		s := newEmptyServer("setLock")
		w := sendHTTP(s, "POST", "setLock", `{"ttl":`+text+`}`)
		if !proto.Equal(s.received, &rtmpb.SetLockRequest{Store: "s", Ttl: want}) {
			t.Errorf("TTL of %s: server received %v, want %d; answer = %s", text, s.received, want, w.Body)
		}
	}
}

func TestHandler_StoreFromPath(t *testing.T) {
	s := newEmptyServer("getLock")
	Handler(s).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/v1/rtm/a%2Fb%20c/getLock", strings.NewReader("{}")))
	if got, ok := s.received.(*rtmpb.GetLockRequest); !ok || got.GetStore() != "a/b c" {
		t.Errorf("server received %v", s.received)
	}
}

func TestHandler_InvalidFields(t *testing.T) {
	for _, row := range []struct{ name, request, body, reason string }{
		{"an empty body", "POST getLock", "", "body must be JSON: unexpected end"},
		{"a body in single quotes", "POST getLock", "{'user':1}", `body must be JSON: invalid character '\''`},
		{"truncated JSON", "POST getLock", `{"user":"u"`, "body must be JSON: unexpected end"},
		{"a trailing comma", "POST getLock", `{"user":"u",}`, "body must be JSON"},
		{"two objects", "POST getLock", `{} {}`, "body must be JSON: invalid character '{' after"},
		{"an array", "POST getLock", `[]`, "body must be an object"},
		{"null", "POST getLock", `null`, "body must be an object"},
		{"an unknown field", "POST getLock", `{"chanel":"c"}`, `"chanel" is an unknown field, must be one of user, channel, channelType`},
		{"a field in another case", "POST getLock", `{"Channel":"c"}`, `"Channel" is an unknown field`},
		{"a field with its proto name", "POST getLock", `{"channel_type":1}`, `"channel_type" is an unknown field`},
		{"a field of another operation", "POST getLock", `{"lockName":"l"}`, `"lockName" is an unknown field`},
		{"the field that the path contains", "POST getLock", `{"store":"other"}`, `"store" is an unknown field`},
		{"a field without a name", "POST getLock", `{"":1}`, `"" is an unknown field`},
		{"a field twice", "POST getLock", `{"user":"a","user":"b"}`, "user must be given once"},
		{"a field in the query and the body", "POST getLock?user=a", `{"user":"a"}`, "user must be given once"},
		{"a field twice in the query", "GET session?user=a&user=b", "", "user must be given once"},
		{"an unknown field in the query", "GET session?usr=a", "", `"usr" is an unknown field`},
		{"a list in the query", "GET session?held=[]", "", "held must be an array"},
		{"a list of locks in the query", "POST keepAlive?held=[{}]", "", "held must be an array"},
		{"a ttl in the query that is a word", "POST setLock?ttl=long", "", "ttl must be a whole number of seconds"},
		{"a ttl in the query that is empty", "POST setLock?ttl=", "", "ttl must be a whole number of seconds"},
		{"a ttl in the query that is null", "POST setLock?ttl=null", "", "ttl must be a whole number of seconds"},
		{"a ttl in the query that is in quotes", "POST setLock?ttl=%2230%22", "", "ttl must be a whole number of seconds"},
		{"a ttl in the query with a space", "POST setLock?ttl=30%20", "", "ttl must be a whole number of seconds"},
		{"a ttl in the query that is a boolean", "POST setLock?ttl=true", "", "ttl must be a whole number of seconds"},
		{"a retry in the query that is a number", "POST acquireLock?retry=1", "", "retry must be true or false"},
		{"a malformed query", "GET session?user=%zz", "", `query cannot be parsed: invalid URL escape "%zz"`},
		{"a user that is a number", "POST getLock", `{"user":1}`, "user must be a string"},
		{"a user that is null", "POST getLock", `{"user":null}`, "user must be a string"},
		{"a user in invalid UTF-8", "POST getLock", "{\"user\":\"\xff\"}", "user must be a string of valid characters"},
		{"a user that is half a character", "POST getLock", `{"user":"\ud800"}`, "user must be a string of valid characters"},
		{"a ttl that is a fraction", "POST setLock", `{"ttl":1.5}`, "ttl must be a whole number of seconds"},
		{"a ttl that is a string", "POST setLock", `{"ttl":"30"}`, "ttl must be a whole number"},
		{"a ttl that is a boolean", "POST setLock", `{"ttl":true}`, "ttl must be a whole number"},
		{"a ttl that is null", "POST setLock", `{"ttl":null}`, "ttl must be a whole number"},
		{"a retry that is a number", "POST acquireLock", `{"retry":1}`, "retry must be true or false"},
		{"a retry that is a string", "POST acquireLock", `{"retry":"true"}`, "retry must be true or false"},
		{"an owner that is null", "POST revokeLock", `{"owner":null}`, "owner must be a string"},
		{"held locks that are an object", "POST keepAlive", `{"held":{}}`, "held must be an array"},
		{"held locks that are null", "POST keepAlive", `{"held":null}`, "held must be an array"},
		{"a held lock that is a name", "POST keepAlive", `{"held":[{},"l"]}`, "held[1] must be an object"},
		{"an unknown field of a held lock", "POST keepAlive", `{"held":[{"l":1}]}`, `held[0]."l" is an unknown field, must be one of lockName`},
		{"a negative token", "POST session", `{"held":[{"lockRev":-1}]}`, "held[0].lockRev must be a whole number"},
		{"a token in quotes", "POST session", `{"held":[{"lockRev":"1"}]}`, "held[0].lockRev must be a whole number"},
	} {
		t.Run(row.name, func(t *testing.T) { checkRejected(t, row.request, row.body, -10014, row.reason) })
	}
}

func TestHandler_InvalidChannelType(t *testing.T) {
	for _, value := range []string{
		"0", "3", "-1", "1.5", "1e400", `"message"`, `"NONE"`, `""`, `"1"`, "true", "[1]", `{"a":1}`, "null",
	} {
		checkRejected(t, "POST getLock", `{"channelType":`+value+`}`, -10019, `channelType must be 1 or "MESSAGE", or 2 or "STREAM", got `+value)
	}
	for _, value := range []string{"01", "3", "message", "", "true", "null", "[1]", "%221%22", "%22MESSAGE%22", "%201"} {
		checkRejected(t, "GET subscribe?channelType="+value, "", -10019, "channelType must be 1")
	}
	checkRejected(t, "POST session", `{"held":[{"channelType":7}]}`, -10019, `held[0].channelType must be 1 or "MESSAGE", or 2 or "STREAM", got 7`)
}

// checkRejected checks that a request is rejected with its operation's name, and that the
// server does not receive it. The reason is a part of the answer's reason.
func checkRejected(t *testing.T, request, body string, errorCode int32, reason string) {
	t.Helper()
	method, operation, _ := strings.Cut(request, " ")
	path, _, _ := strings.Cut(operation, "?")
	s := newEmptyServer(path)
	checkStatus(t, sendHTTP(s, method, operation, body), 400, errorCode, httpOperations[path].name, reason)
	if s.received != nil {
		t.Errorf("server received %v", s.received)
	}
}

func TestHandler_BodyLimit(t *testing.T) {
	s := newEmptyServer("getLock")
	longest := `{"user":"u"}` + strings.Repeat(" ", maxBody-len(`{"user":"u"}`))
	w := sendHTTP(s, "POST", "getLock", longest+" ")
	checkStatus(t, w, 413, -10014, "RTMGetLockOperation", "body must be at most 65536 bytes")
	if s.received != nil {
		t.Errorf("server received %v", s.received)
	}
	if w = sendHTTP(s, "POST", "getLock", longest); w.Code != http.StatusOK {
		t.Errorf("answer to a body of the maximum size = %d %s", w.Code, w.Body)
	}
}

func FuzzHandler(f *testing.F) {
	f.Add("setLock", `{"user":"u","channel":"c","channelType":1,"lockName":"l","ttl":-30}`)
	f.Add("session", `{"user":"u","held":[{"lockRev":12}]}`)
	f.Fuzz(func(t *testing.T, operation, body string) {
		if _, ok := httpOperations[operation]; !ok || operation == "subscribe" {
			operation = "acquireLock"
		}
		s := newEmptyServer(operation)
		w := sendHTTP(s, "POST", operation, body)
		if (w.Code == http.StatusOK) != (s.received != nil) {
			t.Errorf("answer = %d, but server received %v", w.Code, s.received)
		}
		if s.received == nil {
			var answer statusAnswer
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.ErrorCode >= 0 || answer.Reason == "" {
				t.Errorf("answer = %s, %v, want a Status", w.Body, err)
			}
			return
		}
		var object map[string]any
		if err := json.Unmarshal([]byte(body), &object); err != nil {
			t.Errorf("server received %v for a body that is not an object: %v", s.received, err)
		}
		if user, given := object["user"]; given && user != s.received.(interface{ GetUser() string }).GetUser() {
			t.Errorf("server received %v, want the user %q", s.received, user)
		}
	})
}

package binding

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var locksMetadata = map[string]string{"lockStore": "locks", "user": "ann"}

func TestListOperations(t *testing.T) {
	inEnv(t, func(e *env) {
		resp, err := e.newOutput("b", locksMetadata).output.ListOperations(e.Context(), &daprpb.ListOperationsRequest{})
		want := strings.Fields(`acquireLock getLock keepAlive list lock lockAll logout releaseLock removeLock renew revoke revokeLock
			setLock tryLock unlock`)
		if err != nil || !slices.Equal(resp.GetOperations(), want) {
			t.Errorf("%q, %v", resp.GetOperations(), err)
		}
	})
}

func TestInvoke_Locks(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		first := b.expect("tryLock", `{"key": "k", "owner": "o", "ttl": "1m30s", "metadata": {"host": "h"}}`,
			`{"acquired": true, "token": null, "expiresIn": "90s"}`)
		b.expect("tryLock", `{"key": "k", "owner": "p", "ttl": 1.5}`, `{"acquired": false}`)
		b.expect("renew", `{"key": "k", "owner": "o", "ttl": 20}`, fmt.Sprintf(
			`{"acquired": true, "token": %.0f, "expiresIn": "20s"}`, first["token"]))
		b.expect("list", `{"prefix": ""}`, fmt.Sprintf(`{"locks": [{"key": "k", "owner": "o", "token": %.0f, "ttl": "20s",
			"remaining": "20s", "metadata": {"host": "h"}}]}`, first["token"]))
		b.expect("lock", `{"key": "k", "owner": "p", "ttl": 5, "wait": 2}`, `{"acquired": false}`)
		b.expect("unlock", `{"key": "k", "owner": "p"}`, `{"unlocked": false, "reason": "NOT_OWNER", "message": null}`)
		b.expect("unlock", `{"key": "k", "owner": "o"}`, `{"unlocked": true}`)
		b.expect("unlock", `{"key": "k", "owner": "o"}`, `{"unlocked": false, "reason": "NOT_HELD", "message": null}`)
		b.expect("renew", `{"key": "k", "owner": "o", "ttl": 1}`, `{"acquired": false, "reason": "NOT_HELD", "message": null}`)
		b.expect("lockAll", `{"keys": ["a", "b"], "owner": "o", "ttl": 5, "try": true}`,
			`{"acquired": true, "token": null, "expiresIn": "5s"}`)
		b.expect("lockAll", `{"keys": ["b", "c"], "owner": "p", "ttl": 5, "try": true}`, `{"acquired": false}`)
		b.expect("revoke", `{"key": "a"}`, `{"revoked": true}`)
		b.expect("revoke", `{"key": "a"}`, `{"revoked": false, "reason": "NOT_HELD", "message": null}`)
		b.expect("revoke", `{"key": "b", "owner": "p"}`, `{"revoked": false, "reason": "NOT_OWNER", "message": null}`)
		b.expect("revoke", `{"key": "b", "owner": "o"}`, `{"revoked": true}`)
		b.expect("list", ``, `{"locks": []}`)
	})
}

func TestInvoke_LockWaits(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		held := b.expect("tryLock", `{"key": "k", "owner": "o", "ttl": 30}`, `{"acquired": true, "token": null, "expiresIn": "30s"}`)
		got := make(chan map[string]any)
		go func() {
			answer, err := b.invoke("lock", `{"key": "k", "owner": "p", "ttl": 5}`)
			if err != nil {
				t.Error(err)
			}
			got <- answer
		}()
		synctest.Wait()
		time.Sleep(time.Second)
		b.expect("unlock", `{"key": "k", "owner": "o"}`, `{"unlocked": true}`)
		if answer := <-got; answer["acquired"] != true || answer["token"].(float64) <= held["token"].(float64) {
			t.Errorf("%v after %v", answer, held)
		}
	})
}

func TestInvoke_Deadlock(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		b.expect("tryLock", `{"key": "k", "owner": "o", "ttl": 30}`, `{"acquired": true, "token": null, "expiresIn": "30s"}`)
		b.expect("lock", `{"key": "k", "owner": "p", "ttl": 30, "holding": ["o"]}`,
			`{"acquired": false, "reason": "DEADLOCK", "message": null}`)
	})
}

func TestInvoke_ChannelLocks(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		const lock = `"channel": "c", "channelType": 1, "lockName": "l"`
		const name = `"channel": "c", "channelType": "MESSAGE", "lockName": "l"`
		failed := func(code int, operation string) string {
			return fmt.Sprintf(`{"errorCode": %d, "operation": "%s", "reason": null}`, code, operation)
		}
		b.expect("setLock", `{`+lock+`, "ttl": 30}`, `{"errorCode": 0, `+name+`, "ttl": 30}`)
		b.expect("list", `{}`, `{"locks": [{"key": "rtm||1||c||l", "declared": "30s"}]}`)
		b.expect("setLock", `{`+lock+`}`, failed(-14004, "RTMSetLockOperation"))
		b.expect("acquireLock", `{`+lock+`, "retry": false}`, `{"errorCode": 0, `+name+`, "ttl": 30, "lockRev": null}`)
		b.expect("acquireLock", `{`+lock+`, "user": "bob"}`, failed(-14007, "RTMAcquireOperation"))
		b.expect("getLock", `{"channel": "c", "channelType": "MESSAGE"}`, `{"errorCode": 0, "channel": "c", "channelType": "MESSAGE",
			"totalLocks": 1, "locks": [{"lockName": "l", "owner": "ann", "ttl": 30, "lockRev": null}]}`)
		b.expect("keepAlive", `{}`,
			`{"errorCode": 0, "expired": [], "locks": [{`+name+`, "owner": "ann", "ttl": 30, "lockRev": null}]}`)
		b.expect("releaseLock", `{`+lock+`, "user": "bob"}`, failed(-14006, "RTMReleaseLockOperation"))
		b.expect("revokeLock", `{`+lock+`, "user": "bob", "owner": "ann"}`, `{"errorCode": 0, `+name+`}`)
		b.expect("acquireLock", `{`+lock+`}`, `{"errorCode": 0, `+name+`, "ttl": 30, "lockRev": null}`)
		b.expect("releaseLock", `{`+lock+`}`, `{"errorCode": 0, `+name+`}`)
		b.expect("logout", `{"release": true}`, `{"errorCode": 0}`)
		b.expect("removeLock", `{`+lock+`}`, `{"errorCode": 0, `+name+`}`)
		b.expect("removeLock", `{`+lock+`}`, failed(-14008, "RTMRemoveLockOperation"))
		b.expect("setLock", `{"channel": "c", "channelType": 3, "lockName": "l"}`,
			failed(-10019, "RTMSetLockOperation"))
		b.expect("setLock", `{"channel": "c", "channelType": 1, "lockName": "_"}`,
			failed(-14005, "RTMSetLockOperation"))
	})
}

func TestInvoke_User(t *testing.T) {
	inEnv(t, func(e *env) {
		const acquire = `"channel": "c", "channelType": 1, "lockName": "l"`
		for _, row := range []struct{ binding, metadata, data, want string }{
			{"", "", "", ""},
			{"ann", "", "", "ann"},
			{"ann", "bob", "", "bob"},
			{"ann", "bob", `, "user": "eve"`, "eve"},
		} {
			b := e.newOutput("b", map[string]string{"lockStore": "locks", "user": row.binding})
			b.mustInvoke("setLock", `{`+acquire+`, "user": "admin"}`)
			resp, err := b.output.Invoke(e.Context(), &daprpb.InvokeRequest{
				Operation: "acquireLock", Data: []byte(`{` + acquire + row.data + `}`), Metadata: map[string]string{"user": row.metadata}})
			if err != nil {
				t.Fatal(err)
			}
			if code := e.decode(resp.GetData())["errorCode"]; row.want == "" && code != -10002.0 || row.want != "" && code != 0.0 {
				t.Errorf("%+v: %s", row, resp.GetData())
			}
			if row.want != "" {
				b.expect("releaseLock", `{`+acquire+`, "user": "`+row.want+`"}`,
					`{"errorCode": 0, "channel": "c", "channelType": "MESSAGE", "lockName": "l"}`)
			}
		}
	})
}

// mustInvoke runs an operation and fails the test if it returns an error.
func (s *sidecar) mustInvoke(operation, data string) {
	s.Helper()
	if _, err := s.invoke(operation, data); err != nil {
		s.Fatal(err)
	}
}

func TestInvoke_Store(t *testing.T) {
	inEnv(t, func(e *env) {
		own := e.newOutput("own", map[string]string{"store": "memory"})
		b := e.newOutput("b", locksMetadata)
		for _, row := range []struct {
			binding              *sidecar
			metadata, data, want string
		}{
			{own, "", "", "own"},
			{b, "", "", "locks"},
			{b, "others", "", "others"},
			{b, "others", `, "store": "own"`, "own"},
		} {
			for operation, data := range map[string]string{
				"tryLock": `{"key": "k", "owner": "` + row.want + `", "ttl": 1` + row.data + `}`,
				"setLock": `{"user": "u", "channel": "c", "channelType": 1, "lockName": "` + row.want + `"` + row.data + `}`,
			} {
				m := &daprpb.InvokeRequest{Operation: operation, Data: []byte(data), Metadata: map[string]string{"store": row.metadata}}
				if _, err := row.binding.output.Invoke(e.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			resp, err := b.invoke("list", `{"store": "`+row.want+`"}`)
			if err != nil || len(resp["locks"].([]any)) != 2 {
				t.Fatalf("%+v: %v, %v", row, resp, err)
			}
			b.expect("unlock", `{"key": "k", "owner": "`+row.want+`", "store": "`+row.want+`"}`, `{"unlocked": true}`)
			b.mustInvoke("removeLock",
				`{"user": "u", "channel": "c", "channelType": 1, "lockName": "`+row.want+`", "store": "`+row.want+`"}`)
		}
	})
}

func TestInvoke_Errors(t *testing.T) {
	for _, row := range []struct {
		name, operation, data string
		code                  codes.Code
		want                  string
	}{
		{"no operation", "", `{}`, codes.InvalidArgument, `INVALID_ARGUMENT: operation must be one of acquireLock, getLock,`},
		{"an unknown operation", "create", `{}`, codes.InvalidArgument, `INVALID_ARGUMENT: operation must be one of acquireLock,`},
		{"invalid JSON", "tryLock", `{`, codes.InvalidArgument, "INVALID_ARGUMENT: data must be a JSON object"},
		{"a list", "tryLock", `["k"]`, codes.InvalidArgument, "INVALID_ARGUMENT: data must be a JSON object"},
		{"nothing", "tryLock", `null`, codes.InvalidArgument, "INVALID_ARGUMENT: ttl is missing"},
		{"an unknown field", "tryLock", `{"name": "k"}`, codes.InvalidArgument,
			"INVALID_ARGUMENT: name is unknown, known fields are store, key, owner, ttl, metadata"},
		{"a field of another operation", "unlock", `{"key": "k", "owner": "o", "ttl": 1}`, codes.InvalidArgument,
			"INVALID_ARGUMENT: ttl is unknown, known fields are store, key, owner"},
		{"a number instead of a string", "tryLock", `{"key": 1, "owner": "o", "ttl": 1}`, codes.InvalidArgument,
			`INVALID_ARGUMENT: data is invalid: invalid value for string field key: 1`},
		{"a number for store", "tryLock", `{"store": 1}`, codes.InvalidArgument, "INVALID_ARGUMENT: store must be a string"},
		{"a bad duration", "tryLock", `{"key": "k", "owner": "o", "ttl": "soon"}`, codes.InvalidArgument,
			`INVALID_ARGUMENT: ttl must be a duration such as "1m30s" or a number of seconds, got "soon"`},
		{"a duration that overflows", "lock", `{"key": "k", "owner": "o", "ttl": 1e300}`, codes.InvalidArgument,
			`INVALID_ARGUMENT: ttl must be a duration`},
		{"null for a duration", "lock", `{"key": "k", "owner": "o", "ttl": null}`, codes.InvalidArgument,
			`INVALID_ARGUMENT: ttl must be a duration`},
		{"a duration out of bounds", "tryLock", `{"key": "k", "owner": "o", "ttl": -1}`, codes.InvalidArgument,
			"INVALID_ARGUMENT: ttl must be at least 1ms, got -1s"},
		{"no owner", "tryLock", `{"key": "k", "ttl": 1}`, codes.InvalidArgument, "INVALID_ARGUMENT: owner must not be empty"},
		{"no keys", "lockAll", `{"owner": "o", "ttl": 1}`, codes.InvalidArgument, "INVALID_ARGUMENT: keys must be 1 to 64, got 0"},
		{"a list for a string", "list", `{"prefix": ["k"]}`, codes.InvalidArgument, "INVALID_ARGUMENT: data is invalid:"},
		{"an unknown store", "tryLock", `{"store": "nosuch", "key": "k", "owner": "o", "ttl": 1}`, codes.FailedPrecondition,
			`NOT_INITIALIZED: component "nosuch": component is not initialized`},
		{"an unknown store of channels", "getLock", `{"store": "nosuch", "channel": "c", "channelType": 1}`, codes.Unavailable,
			"-14009 LOCK_NOT_AVAILABLE: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			inEnv(t, func(e *env) {
				answer, err := e.newOutput("b", locksMetadata).invoke(row.operation, row.data)
				got := status.Convert(err)
				if got.Code() != row.code || !strings.HasPrefix(strings.ReplaceAll(got.Message(), "\u00a0", " "), row.want) {
					t.Errorf("%v %q, answer %v", got.Code(), got.Message(), answer)
				}
			})
		})
	}
}

func TestInvoke_ListTooLong(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		text := strings.Repeat("x", 4000)
		for i := range 1100 {
			b.mustInvoke("tryLock", fmt.Sprintf(`{"key": "k%d", "owner": "o", "ttl": 60, "metadata": {"x": "%s"}}`, i, text))
		}
		_, err := b.invoke("list", `{}`)
		if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "TOO_LONG: locks must be at most") {
			t.Errorf("%v", err)
		}
		if answer, err := b.invoke("list", `{"prefix": "k10"}`); err != nil || len(answer["locks"].([]any)) != 111 {
			t.Errorf("%d locks, %v", len(answer["locks"].([]any)), err)
		}
	})
}

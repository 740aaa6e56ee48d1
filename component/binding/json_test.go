package binding

import (
	"encoding/json"
	"strings"
	"testing"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// quoted returns the text as a JSON string.
func quoted(text string) string {
	quotes, _ := json.Marshal(text) // cannot fail
	return string(quotes)
}

func TestParseObject(t *testing.T) {
	const object = `{"key":"k \"1\" 🔒","ttl":30}`
	for _, row := range []struct{ name, data, want string }{
		{"an object", object, object},
		{"an object in a string", quoted(object), object},
		{"an object in a string, with every character escaped", `"\u007b\u0022key\u0022:\u0022k\u0022\u007d"`, `{"key":"k"}`},
		{"with space around it", " \r\n\t" + quoted("\n"+object+"\n") + "\n", object},
		{"with a byte order mark", "\ufeff" + object, object},
		{"with a byte order mark in the string", quoted("\ufeff" + object), object},
		{"a string in the object", `{"key":"{\"key\":\"k\"}"}`, `{"key":"{\"key\":\"k\"}"}`},
		{"an empty object", `{}`, `{}`},
		{"an empty object in a string", `"{}"`, `{}`},
		{"nothing", "", `{}`},
		{"space", " \n", `{}`},
		{"null", "null", `{}`},
		{"an empty string", `""`, `{}`},
		{"a string of space", `" \t"`, `{}`},
		{"null in a string", `"null"`, `{}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := parseObject([]byte(row.data))
			if err != nil || string(got.text()) != row.want {
				t.Errorf("%s: got %s, %v; want %s", row.data, got.text(), err, row.want)
			}
		})
	}
}

func TestParseObject_Rejects(t *testing.T) {
	const object = `{"key":"k"}`
	for _, row := range []struct{ name, data string }{
		{"half an object", `{`},
		{"half an object in a string", quoted(`{`)},
		{"half a string", `"{}`},
		{"a list", `[` + object + `]`},
		{"a list in a string", quoted(`[` + object + `]`)},
		{"a number", `1`},
		{"a number in a string", `"1"`},
		{"a boolean", `true`},
		{"a string without JSON", `"order-1"`},
		{"text without quotation marks", `order-1`},
		{"an object in two strings", quoted(quoted(object))},
		{"two objects", object + object},
		{"two objects in a string", quoted(object + object)},
		{"an object behind a string", quoted(object) + object},
		{"an object in Base64", quoted("eyJrZXkiOiJrIn0=")},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := parseObject([]byte(row.data))
			if s := status.Convert(err); s.Code() != codes.InvalidArgument || s.Message() != "data must be a JSON object" {
				t.Errorf("%s: got %s, %v", row.data, got.text(), err)
			}
		})
	}
}

// FuzzData compares the result for a JSON string that contains JSON with the result for
// that JSON.
func FuzzData(f *testing.F) {
	for _, text := range []string{``, `{}`, `{"key":"k","ttl":1e3}`, `null`, `""`, `[]`, `"`, "\ufeff {\"a\":\"\\u0000\"}", "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "\ufffd") // as in a JSON string
		bare, bareErr := parseObject([]byte(text))
		wrapped, wrappedErr := parseObject([]byte(quoted(text)))
		var inner *string // nil for null, which is not a string
		if json.Unmarshal(trim([]byte(text)), &inner) == nil && inner != nil {
			if wrappedErr == nil { // text is a string itself, so that there are two
				t.Errorf("%q in a string: got %s", text, wrapped.text())
			}
			return
		}
		if (bareErr == nil) != (wrappedErr == nil) || string(bare.text()) != string(wrapped.text()) {
			t.Errorf("%q: got %s, %v; in a string %s, %v", text, bare.text(), bareErr, wrapped.text(), wrappedErr)
		}
	})
}

// TestInvoke_DataInAString calls every operation with an object, and with a string that
// contains the object, and expects the same answer.
func TestInvoke_DataInAString(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		resp, err := b.output.ListOperations(e.Context(), &daprpb.ListOperationsRequest{})
		if err != nil || len(resp.GetOperations()) == 0 {
			t.Fatalf("%q, %v", resp.GetOperations(), err)
		}
		for _, operation := range resp.GetOperations() {
			for _, data := range []string{
				`{}`, `{"key": "k"}`, `{"prefix": "p"}`, `{"lockName": "l"}`, `{"store": "nosuch"}`, `{"no field": 1}`,
			} {
				want, wantErr := b.invoke(operation, data)
				got, err := b.invoke(operation, quoted(data))
				if status.Convert(err).Proto().String() != status.Convert(wantErr).Proto().String() || !matches(got, any(want)) {
					t.Errorf("%s %s: got %v, %v; in a string %v, %v", operation, data, want, wantErr, got, err)
				}
			}
		}
	})
}

func TestInvoke_LocksByDataInAString(t *testing.T) {
	inEnv(t, func(e *env) {
		b := e.newOutput("b", locksMetadata)
		b.expect("tryLock", `"{\"key\": \"k\", \"owner\": \"o\", \"ttl\": \"30s\", \"store\": \"others\"}"`,
			`{"acquired": true, "token": null, "expiresIn": "30s"}`)
		b.expect("unlock", `"{\"key\":\"k\",\"owner\":\"o\",\"store\":\"others\"}"`, `{"unlocked": true}`)
		const lock = `\"channel\": \"c\", \"channelType\": 1, \"lockName\": \"l\"`
		b.expect("setLock", `"{`+lock+`, \"ttl\": 30}"`,
			`{"errorCode": 0, "channel": "c", "channelType": "MESSAGE", "lockName": "l", "ttl": 30}`)
		b.expect("acquireLock", `"{`+lock+`, \"user\": \"bob\"}"`,
			`{"errorCode": 0, "channel": "c", "channelType": "MESSAGE", "lockName": "l", "ttl": 30, "lockRev": null}`)
	})
}

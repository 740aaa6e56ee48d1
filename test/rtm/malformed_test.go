package rtm

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// malformedRequests are requests with a wrong type, field name or syntax.
var malformedRequests = []struct {
	call     string
	old, new string // in the template of the request
	code     int32
	says     string
}{
	{setLock, `$type`, `"USER"`, -10019, "channelType"},
	{setLock, `$type`, `"message"`, -10019, "channelType"},
	{setLock, `$type`, `" MESSAGE"`, -10019, "channelType"},
	{setLock, `$type`, `"1"`, -10019, "channelType"},
	{setLock, `$type`, `""`, -10019, "channelType"},
	{setLock, `$type`, `0`, -10019, "channelType"},
	{setLock, `$type`, `3`, -10019, "channelType"},
	{setLock, `$type`, `7`, -10019, "channelType"},
	{setLock, `$type`, `-1`, -10019, "channelType"},
	{setLock, `$type`, `1.5`, -10019, "channelType"},
	{setLock, `$type`, `4294967297`, -10019, "channelType"},
	{setLock, `$type`, `true`, -10019, "channelType"},
	{setLock, `$type`, `null`, -10019, "channelType"},
	{setLock, `$type`, `[1]`, -10019, "channelType"},
	{setLock, `$type`, `{}`, -10019, "channelType"},
	{setLock, `"channelType":$type,`, ``, -10019, "channelType"},
	{getLock, `$type`, `"USER"`, -10019, "channelType"},

	{setLock, `$ttl`, `1.5`, -10014, "ttl"},
	{setLock, `$ttl`, `-0.5`, -10014, "ttl"},
	{setLock, `$ttl`, `"30"`, -10014, "ttl"},
	{setLock, `$ttl`, `true`, -10014, "ttl"},
	{setLock, `$ttl`, `null`, -10014, "ttl"},
	{setLock, `$ttl`, `[30]`, -10014, "ttl"},
	{setLock, `$ttl`, `"soon"`, -10014, "ttl"},

	{setLock, `"user":$user,`, ``, -10002, "user"},
	{setLock, `$user`, `null`, -10014, "user"},
	{setLock, `$user`, `5`, -10014, "user"},
	{logout, `$user`, `["ann"]`, -10014, "user"},
	{setLock, `"channel":$channel,`, ``, -10008, "channel"},
	{setLock, `$channel`, `5`, -10014, "channel"},
	{getLock, `$channel`, `null`, -10014, "channel"},
	{setLock, `"lockName":$lock,`, ``, -14005, "lockName"},
	{setLock, `$lock`, `5`, -10014, "lockName"},
	{removeLock, `$lock`, `true`, -10014, "lockName"},
	{revokeLock, `$owner`, `5`, -10014, "owner"},
	{revokeLock, `$owner`, `null`, -10014, "owner"},
	{acquireLock, `$retry`, `"true"`, -10014, "retry"},
	{acquireLock, `$retry`, `1`, -10014, "retry"},
	{acquireLock, `$retry`, `null`, -10014, "retry"},
	{logout, `$release`, `"no"`, -10014, "release"},
	{keepAlive, `$held`, `{}`, -10014, "held"},
	{keepAlive, `$held`, `["front desk"]`, -10014, "held[0]"},
	{keepAlive, `$held`, `[{"channel":"house","channelType":1,"lockName":"front desk","key":"k"}]`, -10014, "key"},
	{keepAlive, `$held`, `[{"channel":"house","channelType":1,"lockName":"front desk","lockRev":-1}]`, -10014, "lockRev"},
	{keepAlive, `$held`, `[{"channel":"house","channelType":1,"lockName":"front desk","lockRev":"1"}]`, -10014, "lockRev"},
	{keepAlive, `$held`, `[{"channel":"house","channelType":"USER","lockName":"front desk","lockRev":1}]`, -10019, "channelType"},
	{session, `$held`, `"front desk"`, -10014, "held"},

	{setLock, `"lockName"`, `"lock_name"`, -10014, "lock_name"},
	{setLock, `"lockName"`, `"LockName"`, -10014, "LockName"},
	{setLock, `"lockName"`, `"color":"red","lockName"`, -10014, "color"},
	{setLock, `"lockName"`, `"retry":true,"lockName"`, -10014, "retry"},
	{setLock, `"lockName"`, `"store":"locks","lockName"`, -10014, "store"},
	{setLock, `"lockName"`, `"user":"bob","lockName"`, -10014, "user"},
	{setLock, bodies[setLock], ``, -10014, "body"},
	{setLock, bodies[setLock], `[]`, -10014, "body"},
	{setLock, bodies[setLock], `null`, -10014, "body"},
	{setLock, bodies[setLock], `"setLock"`, -10014, "body"},
	{setLock, bodies[setLock], `lockName=front+desk`, -10014, "body"},
	{setLock, `}`, ``, -10014, "body"},
	{setLock, `}`, `}{}`, -10014, "body"},
	{setLock, `}`, `,}`, -10014, "body"},
	{setLock, `{`, "\ufeff{", -10014, "body"},
	{setLock, `"user"`, `'user'`, -10014, "body"},
}

func TestHTTP_MalformedRequests(t *testing.T) {
	for _, row := range malformedRequests {
		runOverHTTP(t, row.call+" with "+row.new+" for "+row.old, func(w *env, d *overHTTP) {
			a := frontDesk.withLock("new desk")
			a.user = "ann"
			body := a.expand(strings.Replace(bodies[row.call], row.old, row.new, 1))
			w.checkUnchanged(func() {
				code, text := w.post(d, row.call, body)
				w.checkStatus(row.call, rejectionOf(code, text), row.code, row.says)
			})
		})
	}
}

func TestHTTP_RequestVariants(t *testing.T) {
	for _, row := range []struct {
		old, new string
		want     lock
	}{
		{`$type`, `1`, lock{"house", messageType, "new desk", "", 30, 0}},
		{`$type`, `"MESSAGE"`, lock{"house", messageType, "new desk", "", 30, 0}},
		{`$type`, `2`, lock{"house", streamType, "new desk", "", 30, 0}},
		{`$type`, `"STREAM"`, lock{"house", streamType, "new desk", "", 30, 0}},
		{`$type`, `1.0`, lock{"house", messageType, "new desk", "", 30, 0}},
		{`$ttl`, `3e1`, lock{"house", messageType, "new desk", "", 30, 0}},
		{`$ttl`, `-1`, lock{"house", messageType, "new desk", "", 10, 0}},
		{`$ttl`, `-1e99`, lock{"house", messageType, "new desk", "", 10, 0}},
		{`$ttl`, `4294967296`, lock{"house", messageType, "new desk", "", 300, 0}},
		{`$ttl`, `4294967311`, lock{"house", messageType, "new desk", "", 300, 0}},
		{`$ttl`, `18446744073709551631`, lock{"house", messageType, "new desk", "", 300, 0}},
		{`$ttl`, `1e400`, lock{"house", messageType, "new desk", "", 300, 0}},
		{`,"ttl":$ttl`, ``, lock{"house", messageType, "new desk", "", 10, 0}},
		{`$lock`, `"\u006eew desk"`, lock{"house", messageType, "new desk", "", 30, 0}},
		{`$lock`, `"new \u0026 desk"`, lock{"house", messageType, "new & desk", "", 30, 0}},
		{`{`, "\r\n{ ", lock{"house", messageType, "new desk", "", 30, 0}},
	} {
		runOverHTTP(t, row.new+" for "+row.old, func(w *env, d *overHTTP) {
			a := frontDesk.withLock("new desk")
			a.user = "ann"
			code, text := w.post(d, setLock, a.expand(strings.Replace(bodies[setLock], row.old, row.new, 1)))
			got, err := answerOf(setLock, text)
			if code != http.StatusOK || err != nil || got.lock != row.want {
				w.Errorf("answer = %d, %v, %+v, want 200 and %+v", code, err, got.lock, row.want)
			}
		})
	}
}

func TestHTTP_InvalidPathsAndMethods(t *testing.T) {
	large := `{"user":"` + strings.Repeat("n", 1<<16) + `"}`
	for _, row := range []struct {
		name, method, path, body string
		http                     int
		operation, says          string
	}{
		{"an unknown operation", "POST", "locks/stealLock", `{}`, 404, "RTMOperation", "path"},
		{"an operation in upper case", "POST", "locks/SETLOCK", `{}`, 404, "RTMOperation", "path"},
		{"a path that is too long", "POST", "locks/setLock/now", `{}`, 404, "RTMOperation", "path"},
		{"a path that is too short", "POST", "locks", `{}`, 404, "RTMOperation", "path"},
		{"a call by GET", "GET", "locks/setLock?user=ann&channel=house&channelType=1", "", 405, "RTMSetLockOperation", "POST"},
		{"a call by PUT", "PUT", "locks/releaseLock", `{}`, 405, "RTMReleaseLockOperation", "POST"},
		{"a call by DELETE", "DELETE", "locks/removeLock", `{}`, 405, "RTMRemoveLockOperation", "POST"},
		{"a subscription by POST", "POST", "locks/subscribe", `{}`, 405, "RTMSubscribeOperation", "GET"},
		{"a body that is too large", "POST", "locks/setLock", large, 413, "RTMSetLockOperation", "body"},
	} {
		runOverHTTP(t, row.name, func(w *env, d *overHTTP) {
			response, err := d.do(w.ctx, row.method, row.path, row.body)
			if err != nil {
				w.Fatal(err)
			}
			defer response.Body.Close()
			text, err := io.ReadAll(response.Body)
			if err != nil {
				w.Fatal(err)
			}
			f, ok := errors.AsType[*statusError](failureIn(text))
			if !ok || response.StatusCode != row.http || *f != (statusError{-10014, row.operation, f.reason}) ||
				!strings.Contains(f.reason, row.says) {
				w.Errorf("answer = %d %s, want %d", response.StatusCode, text, row.http)
			}
		})
	}
}

// runOverHTTP runs a test of the HTTP API with the memory store only. Such requests do
// not reach the store.
func runOverHTTP(t *testing.T, name string, test func(w *env, d *overHTTP)) {
	t.Run(name, func(t *testing.T) {
		target{openAPI: openHTTP}.withEnv(t, nil, func(w *env) { test(w, w.apis[0].(*overHTTP)) })
	})
}

// post posts a body, and returns the HTTP code and the body of the answer.
func (w *env) post(d *overHTTP, call, body string) (code int, text []byte) {
	w.Helper()
	response, err := d.post(w.ctx, component, call, body)
	if err != nil {
		w.Fatal(err)
	}
	defer response.Body.Close()
	if text, err = io.ReadAll(response.Body); err != nil {
		w.Fatal(err)
	}
	if kind := response.Header.Get("Content-Type"); kind != "application/json" {
		w.Errorf("Content-Type = %q", kind)
	}
	return response.StatusCode, text
}

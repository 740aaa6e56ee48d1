// Every operation, through the output binding of an unmodified daprd.
package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
)

func TestStockDaprd_NoPluggableLocks(t *testing.T) {
	t.Parallel()
	s := newStockSidecar(startMortise(t), newResources(t, memory("locks")))
	s.launch(t)
	if code := s.exitCode(); code == 0 {
		t.Error("daprd: got exit code 0, want an error")
	}
	if err := s.checkLine("level=fatal", "couldn't find lock store lock.mortise/v1"); err != nil {
		t.Error(err)
	}
}

// forEachBinding runs the test with a binding on memory and with one on Redis, in one
// stock daprd.
func forEachBinding(t *testing.T, test func(t *testing.T, b binding)) {
	t.Helper()
	locks := []component{memory("memory"), redis("redis", startRedis(t))}
	r := newResources(t)
	for _, lock := range locks {
		r.write(bindingOf(lock).with("user", "ann"))
	}
	s := startStockSidecar(t, startMortise(t), nil, r)
	for _, lock := range locks {
		t.Run(lock.name+" store", func(t *testing.T) {
			test(t, s.binding(t, lock.name))
		})
	}
}

func TestBinding_LockOperations(t *testing.T) {
	t.Parallel()
	const notHeld, notOwner = `"message":"…","reason":"NOT_HELD"`, `"message":"…","reason":"NOT_OWNER"`
	forEachBinding(t, func(t *testing.T, b binding) {
		first := b.returns("tryLock", `{"key": "k", "owner": "alice", "ttl": 60, "metadata": {"host": "h"}}`, acquired)
		b.returns("tryLock", `{"key": "k", "owner": "bob", "ttl": "1m"}`, `{"acquired":false}`)
		b.returns("lock", `{"key": "k", "owner": "bob", "ttl": 60, "wait": 0.1}`, `{"acquired":false}`)
		renewed := b.returns("renew", `{"key": "k", "owner": "alice", "ttl": "1m30s"}`, acquired)
		if renewed != first {
			t.Errorf("renew: got the token %d, want %d", renewed, first)
		}
		b.returns("list", `{"prefix": "k"}`, `{"locks":[{"key":"k","owner":"alice","token":N,"ttl":"90s","remaining":"T",`+
			`"metadata":{"host":"h"}}]}`)
		b.returns("renew", `{"key": "k", "owner": "bob", "ttl": 60}`, `{"acquired":false,`+notOwner+`}`)
		b.returns("unlock", `{"key": "k", "owner": "bob"}`, `{`+notOwner+`,"unlocked":false}`)
		b.returns("unlock", `{"key": "k", "owner": "alice"}`, `{"unlocked":true}`)
		b.returns("unlock", `{"key": "k", "owner": "alice"}`, `{`+notHeld+`,"unlocked":false}`)

		all := b.returns("lockAll", `{"keys": ["k", "l"], "owner": "alice", "ttl": 60}`, acquired)
		if all <= first {
			t.Errorf("got the token %[2]d after %[1]d, want a larger one", first, all)
		}
		b.returns("lockAll", `{"keys": ["l", "m"], "owner": "bob", "ttl": 60, "try": true}`, `{"acquired":false}`)
		b.returns("revoke", `{"key": "k", "owner": "bob"}`, `{`+notOwner+`,"revoked":false}`)
		b.returns("revoke", `{"key": "k", "owner": "alice"}`, `{"revoked":true}`)
		b.returns("revoke", `{"key": "l"}`, `{"revoked":true}`)
		b.returns("revoke", `{"key": "l"}`, `{`+notHeld+`,"revoked":false}`)
		b.returns("list", `null`, `{"locks":[]}`)
	})
}

func TestBinding_Wait(t *testing.T) {
	t.Parallel()
	forEachBinding(t, func(t *testing.T, b binding) {
		first := b.returns("tryLock", `{"key": "k", "owner": "alice", "ttl": 60}`, acquired)
		answered := make(chan string, 1)
		go func() {
			code, answer, err := b.invoke(t.Context(), "lock", `{"key": "k", "owner": "bob", "ttl": 60}`)
			if err != nil {
				answer = fmt.Sprintf("%d, %v", code, err)
			}
			answered <- answer
		}()
		b.eventually("list", `{}`, `{"locks":[{"key":"k","owner":"alice","token":N,"ttl":"60s","remaining":"T","waiters":1}]}`)
		b.returns("unlock", `{"key": "k", "owner": "alice"}`, `{"unlocked":true}`)
		answer := <-answered
		if normalize(answer) != acquired || tokenIn(t, answer) <= first {
			t.Errorf("waiter: got %s after the token %d", answer, first)
		}
		b.returns("unlock", `{"key": "k", "owner": "bob"}`, `{"unlocked":true}`)
	})
}

func TestBinding_WaitCanceled(t *testing.T) {
	t.Parallel()
	const lock = `"channel":"lobby","channelType":"MESSAGE","lockName":"disk"`
	const rows = `{"key":"k","owner":"alice","token":N,"ttl":"60s","remaining":"T"%s},` +
		`{"key":"rtm||1||lobby||disk","owner":"ann","token":N,"ttl":"10s","remaining":"T"%[1]s,"declared":"10s"}`
	forEachBinding(t, func(t *testing.T, b binding) {
		b.returns("tryLock", `{"key": "k", "owner": "alice", "ttl": 60}`, acquired)
		b.returns("setLock", `{`+lock+`}`, `{"errorCode":0,`+lock+`,"ttl":10}`)
		b.returns("acquireLock", `{`+lock+`}`, `{"errorCode":0,`+lock+`,"ttl":10,"lockRev":N}`)
		var waiting sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for operation, data := range map[string]string{
			"lock":        `{"key": "k", "owner": "bob", "ttl": 60}`,
			"acquireLock": `{` + lock + `, "user": "bob", "retry": true}`,
		} {
			waiting.Go(func() {
				if code, answer, err := b.invoke(ctx, operation, data); err == nil {
					t.Errorf("%s did not wait: %d %s", operation, code, answer)
				}
			})
		}
		b.eventually("list", `{}`, fmt.Sprintf(`{"locks":[`+rows+`]}`, `,"waiters":1`))
		cancel()
		waiting.Wait()
		b.eventually("list", `{}`, fmt.Sprintf(`{"locks":[`+rows+`]}`, ""))
		b.returns("unlock", `{"key": "k", "owner": "alice"}`, `{"unlocked":true}`)
		b.returns("releaseLock", `{`+lock+`}`, `{"errorCode":0,`+lock+`}`)
		b.returns("list", `{}`, `{"locks":[{"key":"rtm||1||lobby||disk","declared":"10s"}]}`)
	})
}

func TestBinding_ChannelOperations(t *testing.T) {
	t.Parallel()
	const lock = `"channel":"lobby","channelType":"MESSAGE","lockName":"disk"`
	failed := func(code int, operation string) string {
		return fmt.Sprintf(`{"errorCode":%d,"operation":"%s","reason":"…"}`, code, operation)
	}
	forEachBinding(t, func(t *testing.T, b binding) {
		b.returns("setLock", `{`+lock+`, "ttl": 30}`, `{"errorCode":0,`+lock+`,"ttl":30}`)
		b.returns("setLock", `{`+lock+`}`, failed(-14004, "RTMSetLockOperation"))
		b.returns("acquireLock", `{`+lock+`, "retry": false}`, `{"errorCode":0,`+lock+`,"ttl":30,"lockRev":N}`)
		b.returns("acquireLock", `{`+lock+`, "user": "bob"}`, failed(-14007, "RTMAcquireOperation"))
		b.returns("getLock", `{"channel": "lobby", "channelType": "MESSAGE"}`, `{"errorCode":0,"channel":"lobby",`+
			`"channelType":"MESSAGE","totalLocks":1,"locks":[{"lockName":"disk","owner":"ann","ttl":30,"lockRev":N}]}`)
		b.returns("releaseLock", `{`+lock+`, "user": "bob"}`, failed(-14006, "RTMReleaseLockOperation"))
		b.returns("revokeLock", `{`+lock+`, "user": "bob", "owner": "ann"}`, `{"errorCode":0,`+lock+`}`)
		b.returns("acquireLock", `{`+lock+`, "user": "bob"}`, `{"errorCode":0,`+lock+`,"ttl":30,"lockRev":N}`)
		b.returns("releaseLock", `{`+lock+`, "user": "bob"}`, `{"errorCode":0,`+lock+`}`)
		b.returns("removeLock", `{`+lock+`}`, `{"errorCode":0,`+lock+`}`)
		b.returns("removeLock", `{`+lock+`}`, failed(-14008, "RTMRemoveLockOperation"))
		b.returns("setLock", `{"channel": "lobby", "channelType": 3, "lockName": "disk"}`, failed(-10019, "RTMSetLockOperation"))
	})
}

func TestBinding_InvalidRequests(t *testing.T) {
	t.Parallel()
	forEachBinding(t, func(t *testing.T, b binding) {
		b.fails("create", `{}`, "does not support operation create", "setLock tryLock unlock")
		b.fails("tryLock", `null`, "code = InvalidArgument", "INVALID_ARGUMENT: ttl is missing")
		b.fails("tryLock", `"k"`, "INVALID_ARGUMENT: data must be a JSON object")
		b.fails("tryLock", `{"key": "k", "owner": "", "ttl": 1}`, "INVALID_ARGUMENT: owner must not be empty")
		b.fails("unlock", `{"key": "k", "owner": "o", "ttl": 1}`, "INVALID_ARGUMENT: ttl is unknown, known fields are store, key, owner")
		b.fails("tryLock", `{"key": "k", "owner": "o", "ttl": "soon"}`, "INVALID_ARGUMENT: ttl must be a duration")
		b.fails("list", `{"store": "depot"}`, "code = FailedPrecondition", `NOT_INITIALIZED: component \"depot\"`)
		b.fails("getLock", `{"store": "depot", "channel": "c", "channelType": 1}`, "-14009 LOCK_NOT_AVAILABLE")
		b.returns("list", `{}`, `{"locks":[]}`)
	})
}

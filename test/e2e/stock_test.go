// Every operation, by the output binding of an unmodified daprd.
package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
)

func TestAStockDaprdHasNoLocksOfOthers(t *testing.T) {
	t.Parallel()
	s := newStock(startMortise(t), newResources(t, memory("locks")))
	s.launch(t)
	if code := s.exitCode(); code == 0 {
		t.Error("daprd ended without an error")
	}
	if err := s.hasSaid("level=fatal", "couldn't find lock store lock.mortise/v1"); err != nil {
		t.Error(err)
	}
}

// eachStock runs the test with a binding on memory and with one on Redis, of one stock
// daprd.
func eachStock(t *testing.T, test func(t *testing.T, b binding)) {
	t.Helper()
	kept := []component{memory("memory"), redis("redis", startRedis(t))}
	r := newResources(t)
	for _, lock := range kept {
		r.write(bindingOf(lock).with("user", "ann"))
	}
	s := startStock(t, startMortise(t), nil, r)
	for _, lock := range kept {
		t.Run("kept in "+lock.name, func(t *testing.T) {
			test(t, s.binding(t, lock.name))
		})
	}
}

func TestAStockDaprdHasEveryOperationOfLocks(t *testing.T) {
	t.Parallel()
	const notHeld, notOwner = `"message":"…","reason":"NOT_HELD"`, `"message":"…","reason":"NOT_OWNER"`
	eachStock(t, func(t *testing.T, b binding) {
		first := b.answers("tryLock", `{"key": "k", "owner": "alice", "ttl": 60, "metadata": {"host": "h"}}`, acquired)
		b.answers("tryLock", `{"key": "k", "owner": "bob", "ttl": "1m"}`, `{"acquired":false}`)
		b.answers("lock", `{"key": "k", "owner": "bob", "ttl": 60, "wait": 0.1}`, `{"acquired":false}`)
		renewed := b.answers("renew", `{"key": "k", "owner": "alice", "ttl": "1m30s"}`, acquired)
		if renewed != first {
			t.Errorf("renewing the lock made a token %d of %d", renewed, first)
		}
		b.answers("list", `{"prefix": "k"}`, `{"locks":[{"key":"k","owner":"alice","token":N,"ttl":"90s","remaining":"T",`+
			`"metadata":{"host":"h"}}]}`)
		b.answers("renew", `{"key": "k", "owner": "bob", "ttl": 60}`, `{"acquired":false,`+notOwner+`}`)
		b.answers("unlock", `{"key": "k", "owner": "bob"}`, `{`+notOwner+`,"unlocked":false}`)
		b.answers("unlock", `{"key": "k", "owner": "alice"}`, `{"unlocked":true}`)
		b.answers("unlock", `{"key": "k", "owner": "alice"}`, `{`+notHeld+`,"unlocked":false}`)

		all := b.answers("lockAll", `{"keys": ["k", "l"], "owner": "alice", "ttl": 60}`, acquired)
		if all <= first {
			t.Errorf("the tokens are %d and then %d", first, all)
		}
		b.answers("lockAll", `{"keys": ["l", "m"], "owner": "bob", "ttl": 60, "try": true}`, `{"acquired":false}`)
		b.answers("revoke", `{"key": "k", "owner": "bob"}`, `{`+notOwner+`,"revoked":false}`)
		b.answers("revoke", `{"key": "k", "owner": "alice"}`, `{"revoked":true}`)
		b.answers("revoke", `{"key": "l"}`, `{"revoked":true}`)
		b.answers("revoke", `{"key": "l"}`, `{`+notHeld+`,"revoked":false}`)
		b.answers("list", `null`, `{"locks":[]}`)
	})
}

func TestAStockDaprdLetsALockBeWaitedFor(t *testing.T) {
	t.Parallel()
	eachStock(t, func(t *testing.T, b binding) {
		first := b.answers("tryLock", `{"key": "k", "owner": "alice", "ttl": 60}`, acquired)
		answered := make(chan string, 1)
		go func() {
			code, answer, err := b.invoke(t.Context(), "lock", `{"key": "k", "owner": "bob", "ttl": 60}`)
			if err != nil {
				answer = fmt.Sprintf("%d, %v", code, err)
			}
			answered <- answer
		}()
		b.soon("list", `{}`, `{"locks":[{"key":"k","owner":"alice","token":N,"ttl":"60s","remaining":"T","waiters":1}]}`)
		b.answers("unlock", `{"key": "k", "owner": "alice"}`, `{"unlocked":true}`)
		answer := <-answered
		if steady(answer) != acquired || tokenIn(t, answer) <= first {
			t.Errorf("who waited got %s after the token %d", answer, first)
		}
		b.answers("unlock", `{"key": "k", "owner": "bob"}`, `{"unlocked":true}`)
	})
}

func TestWhoGivesUpWaitingGetsNothing(t *testing.T) {
	t.Parallel()
	const lock = `"channel":"lobby","channelType":"MESSAGE","lockName":"disk"`
	const rows = `{"key":"k","owner":"alice","token":N,"ttl":"60s","remaining":"T"%s},` +
		`{"key":"rtm||1||lobby||desk","owner":"ann","token":N,"ttl":"10s","remaining":"T"%[1]s,"declared":"10s"}`
	eachStock(t, func(t *testing.T, b binding) {
		b.answers("tryLock", `{"key": "k", "owner": "alice", "ttl": 60}`, acquired)
		b.answers("setLock", `{`+lock+`}`, `{"errorCode":0,`+lock+`,"ttl":10}`)
		b.answers("acquireLock", `{`+lock+`}`, `{"errorCode":0,`+lock+`,"ttl":10,"lockRev":N}`)
		var waiting sync.WaitGroup
		ctx, giveUp := context.WithCancel(t.Context())
		defer giveUp()
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
		b.soon("list", `{}`, fmt.Sprintf(`{"locks":[`+rows+`]}`, `,"waiters":1`))
		giveUp()
		waiting.Wait()
		b.soon("list", `{}`, fmt.Sprintf(`{"locks":[`+rows+`]}`, ""))
		b.answers("unlock", `{"key": "k", "owner": "alice"}`, `{"unlocked":true}`)
		b.answers("releaseLock", `{`+lock+`}`, `{"errorCode":0,`+lock+`}`)
		b.answers("list", `{}`, `{"locks":[{"key":"rtm||1||lobby||desk","declared":"10s"}]}`)
	})
}

func TestAStockDaprdHasEveryOperationOfChannels(t *testing.T) {
	t.Parallel()
	const lock = `"channel":"lobby","channelType":"MESSAGE","lockName":"disk"`
	failed := func(code int, operation string) string {
		return fmt.Sprintf(`{"errorCode":%d,"operation":"%s","reason":"…"}`, code, operation)
	}
	eachStock(t, func(t *testing.T, b binding) {
		b.answers("setLock", `{`+lock+`, "ttl": 30}`, `{"errorCode":0,`+lock+`,"ttl":30}`)
		b.answers("setLock", `{`+lock+`}`, failed(-14004, "RTMSetLockOperation"))
		b.answers("acquireLock", `{`+lock+`, "retry": false}`, `{"errorCode":0,`+lock+`,"ttl":30,"lockRev":N}`)
		b.answers("acquireLock", `{`+lock+`, "user": "bob"}`, failed(-14007, "RTMAcquireOperation"))
		b.answers("getLock", `{"channel": "lobby", "channelType": "MESSAGE"}`, `{"errorCode":0,"channel":"lobby",`+
			`"channelType":"MESSAGE","totalLocks":1,"locks":[{"lockName":"disk","owner":"ann","ttl":30,"lockRev":N}]}`)
		b.answers("releaseLock", `{`+lock+`, "user": "bob"}`, failed(-14006, "RTMReleaseLockOperation"))
		b.answers("revokeLock", `{`+lock+`, "user": "bob", "owner": "ann"}`, `{"errorCode":0,`+lock+`}`)
		b.answers("acquireLock", `{`+lock+`, "user": "bob"}`, `{"errorCode":0,`+lock+`,"ttl":30,"lockRev":N}`)
		b.answers("releaseLock", `{`+lock+`, "user": "bob"}`, `{"errorCode":0,`+lock+`}`)
		b.answers("removeLock", `{`+lock+`}`, `{"errorCode":0,`+lock+`}`)
		b.answers("removeLock", `{`+lock+`}`, failed(-14008, "RTMRemoveLockOperation"))
		b.answers("setLock", `{"channel": "lobby", "channelType": 3, "lockName": "disk"}`, failed(-10019, "RTMSetLockOperation"))
	})
}

func TestAStockDaprdTellsItsAppWhatMadeNoSense(t *testing.T) {
	t.Parallel()
	eachStock(t, func(t *testing.T, b binding) {
		b.fails("create", `{}`, "does not support operation create", "setLock tryLock unlock")
		b.fails("tryLock", `null`, "code = InvalidArgument", "INVALID_ARGUMENT: ttl is missing")
		b.fails("tryLock", `"k"`, "INVALID_ARGUMENT: data is no JSON object")
		b.fails("tryLock", `{"key": "k", "owner": "", "ttl": 1}`, "INVALID_ARGUMENT: owner must not be empty")
		b.fails("unlock", `{"key": "k", "owner": "o", "ttl": 1}`, "INVALID_ARGUMENT: ttl is unknown, known are store, key, owner")
		b.fails("tryLock", `{"key": "k", "owner": "o", "ttl": "soon"}`, "INVALID_ARGUMENT: ttl is no duration")
		b.fails("list", `{"store": "depot"}`, "code = FailedPrecondition", `NOT_INITIALIZED: component \"depot\"`)
		b.fails("getLock", `{"store": "depot", "channel": "c", "channelType": 1}`, "-14009 LOCK_NOT_AVAILABLE")
		b.answers("list", `{}`, `{"locks":[]}`)
	})
}

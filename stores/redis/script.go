package redis

import (
	"context"
	_ "embed" // for the scripts
	"encoding/json"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/stores"
)

// Answers of the scripts other than a token.
const (
	notHeld     = -1
	notOwner    = -2
	deadlock    = -3
	notDeclared = -5
	gaveUp      = -6
	repeated    = -7
	declaredNow = -8
	groupFull   = -9
	notLock     = -10
)

// Parts of scripts, each of which needs those before it. Redis makes a script's functions
// anew for each run, so what decides the usual case comes first and returns.
var (
	//go:embed write.lua
	writePart string
	//go:embed describe.lua
	describePart string
	//go:embed tell.lua
	tellPart string
	//go:embed queue.lua
	queuePart string
	//go:embed dismiss.lua
	dismissPart string
	//go:embed deadlock.lua
	deadlockPart string
	//go:embed data.lua
	dataPart string
	//go:embed known.lua
	knownPart string

	//go:embed trylock.lua
	tryLockPart string
	//go:embed trylock_else.lua
	tryLockElse string
	//go:embed free.lua
	freePart string
	//go:embed free_check.lua
	freeCheck string
	//go:embed free_else.lua
	freeElse string
	//go:embed lock.lua
	lockPart string
	//go:embed lock_wait.lua
	lockWait string
	//go:embed lock_else.lua
	lockElse string
	//go:embed leave.lua
	leavePart string
	//go:embed check.lua
	checkPart string
	//go:embed ping.lua
	pingPart string
	//go:embed renew.lua
	renewPart string
	//go:embed list.lua
	listPart string
	//go:embed get.lua
	getPart string
	//go:embed watch.lua
	watchPart string
	//go:embed declare.lua
	declarePart string
	//go:embed withdraw.lua
	withdrawPart string
	//go:embed group.lua
	groupPart string
)

var (
	tryLockScript = script(writePart, tryLockPart, dataPart, describePart, tellPart, queuePart, tryLockElse)
	freeScript    = script(freePart, dataPart, knownPart, freeCheck, writePart, describePart, tellPart, queuePart, dismissPart,
		freeElse)
	lockScript = script(dataPart, lockPart, writePart, lockWait, describePart, tellPart, queuePart, deadlockPart,
		lockElse)
	leaveScript = script(writePart, describePart, tellPart, queuePart, leavePart)
	checkScript = script(writePart, describePart, tellPart, queuePart, dataPart, checkPart)
	pingScript  = script(writePart, pingPart)
	renewScript = script(dataPart, renewPart)
	listScript  = script(describePart, listPart)
	getScript   = script(dataPart, describePart, getPart)
	watchScript = script(writePart, describePart, tellPart, watchPart)

	declareScript  = script(writePart, describePart, tellPart, dataPart, declarePart)
	withdrawScript = script(writePart, describePart, tellPart, queuePart, dismissPart, dataPart, knownPart, withdrawPart)
	groupScript    = script(describePart, groupPart)
)

func script(parts ...string) *goredis.Script { return goredis.NewScript(strings.Join(parts, "")) }

// run runs a script, and tells it who we are.
func (s *Store) run(ctx context.Context, script *goredis.Script, keys []string, args ...any) *goredis.Cmd {
	return script.Run(ctx, s.client, keys, append([]any{s.id, s.seen.Load(), s.events}, args...)...)
}

// outcome turns a script's answer into the contract's error.
func outcome(answer int64) error {
	switch answer {
	case notHeld:
		return stores.ErrNotHeld
	case notOwner:
		return stores.ErrNotOwner
	case deadlock:
		return stores.ErrDeadlock
	case notDeclared:
		return stores.ErrNotDeclared
	case gaveUp:
		return stores.ErrGaveUp
	case repeated:
		return stores.ErrRepeated
	case declaredNow:
		return stores.ErrDeclared
	case groupFull:
		return stores.ErrLimit
	case notLock:
		return stores.ErrNotLock
	}
	return nil
}

// encode is metadata as a record has it: JSON, or nothing.
func encode(metadata map[string]string) string {
	if len(metadata) == 0 {
		return ""
	}
	text, err := json.Marshal(metadata)
	if err != nil {
		panic(err) // a map of strings can always be encoded
	}
	return string(text)
}

func decode(text string) (map[string]string, error) {
	if text == "" {
		return nil, nil
	}
	var metadata map[string]string
	if err := json.Unmarshal([]byte(text), &metadata); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	return metadata, nil
}

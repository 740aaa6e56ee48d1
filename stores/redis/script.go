package redis

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/stores"
)

// Answers of the scripts other than a token.
const (
	notHeld         = -1
	notOwner        = -2
	deadlock        = -3
	hasLeft         = -4
	notDeclared     = -5
	gaveUp          = -6
	repeated        = -7
	alreadyDeclared = -8
	groupFull       = -9
	notLock         = -10
)

// errHasLeft is the answer to a delayed request of a waiter that has left its queues.
var errHasLeft = errors.New("the waiter has left the queue")

// luaFiles holds one file for each script, and in lua/lib the functions that scripts
// share.
//
//go:embed lua
var luaFiles embed.FS

// The scripts, each from the file of its name.
var (
	tryLockScript  = loadScript("trylock")
	lockScript     = loadScript("lock")
	unlockScript   = loadScript("unlock")
	leaveScript    = loadScript("leave")
	checkScript    = loadScript("check")
	pingScript     = loadScript("ping")
	renewScript    = loadScript("renew")
	listScript     = loadScript("list")
	getScript      = loadScript("get")
	watchScript    = loadScript("watch")
	declareScript  = loadScript("declare")
	withdrawScript = loadScript("withdraw")
	groupScript    = loadScript("group")
)

// includeLine matches a line of a Lua file that names a file of lua/lib.
var includeLine = regexp.MustCompile(`(?m)^-- include (\w+)\n`)

func loadScript(name string) *goredis.Script {
	return goredis.NewScript(assemble("lua/"+name+".lua", map[string]bool{}))
}

// assemble returns the text of a Lua file in which each line "-- include NAME" is
// replaced by lua/lib/NAME.lua, and by nothing if included has the name already. The
// place matters: Redis creates a script's functions each time that the script reaches
// them, so a script handles the usual case and returns before it includes what only the
// other cases need.
func assemble(path string, included map[string]bool) string {
	text, err := luaFiles.ReadFile(path)
	if err != nil {
		panic(err) // a file that is missing is missing from the binary
	}
	return includeLine.ReplaceAllStringFunc(string(text), func(line string) string {
		name := includeLine.FindStringSubmatch(line)[1]
		if included[name] {
			return ""
		}
		included[name] = true
		return assemble("lua/lib/"+name+".lua", included)
	})
}

// runScript runs a script with the Store's own arguments first, see lib/caller.lua.
func (s *Store) runScript(ctx context.Context, script *goredis.Script, keys []string, args ...any) *goredis.Cmd {
	return script.Run(ctx, s.client, keys, append([]any{s.id, s.maxToken.Load(), s.events}, args...)...)
}

// scriptError returns the contract's error for a script's answer, and nil for an answer
// that is not negative.
func scriptError(answer int64) error {
	switch {
	case answer >= 0:
		return nil
	case answer == notHeld:
		return stores.ErrNotHeld
	case answer == notOwner:
		return stores.ErrNotOwner
	case answer == deadlock:
		return stores.ErrDeadlock
	case answer == notDeclared:
		return stores.ErrNotDeclared
	case answer == gaveUp:
		return stores.ErrGaveUp
	case answer == repeated:
		return stores.ErrRepeated
	case answer == alreadyDeclared:
		return stores.ErrDeclared
	case answer == groupFull:
		return stores.ErrLimit
	case answer == notLock:
		return stores.ErrNotLock
	case answer == hasLeft:
		return errHasLeft
	}
	return fmt.Errorf("the script's answer must be a known code, got %d", answer)
}

// encode returns metadata as a record has it: JSON, or nothing.
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

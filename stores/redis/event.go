package redis

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// eventsPrefix and the number of a database are the channel of the database's events.
// Channels of Redis belong to no database.
const eventsPrefix = "mortise:events:"

// report is Redis's answer to a watcher. It is received in order with the events: after
// all that happened before it.
type report struct {
	number       uint64 // of the request
	watchedSince string // when the present period with watchers began
	revision     uint64
	locks        []stores.LockInfo
}

// parseEvent reads an event of lib/events.lua: kind, revision and the lock's description.
func parseEvent(message string) (stores.Event, error) {
	values, err := unpack(message)
	if err != nil || len(values) != 2+rowLen {
		return stores.Event{}, fmt.Errorf("an event must have %d values, got %q", 2+rowLen, message)
	}
	revision, err := strconv.ParseUint(values[1], 10, 64)
	if err != nil {
		return stores.Event{}, err
	}
	l, err := parseRow(values[2:])
	return stores.Event{Kind: parseKind(values[0]), Revision: revision, Lock: l}, err
}

func parseKind(text string) stores.EventKind {
	for kind := stores.EventAcquired; kind <= stores.EventWithdrawn; kind++ {
		if kind.String() == text {
			return kind
		}
	}
	return 0
}

// parseReport reads a report of watch.lua.
func parseReport(message string) (report, error) {
	values, err := unpack(message)
	if err != nil || len(values) < 3 {
		return report{}, fmt.Errorf("a report must have at least 3 values, got %q", message)
	}
	number, err := strconv.ParseUint(values[0], 10, 64)
	if err != nil {
		return report{}, err
	}
	revision, err := strconv.ParseUint(values[2], 10, 64)
	if err != nil {
		return report{}, err
	}
	locks, err := parseRows(values[3:])
	return report{number: number, watchedSince: values[1], revision: revision, locks: locks}, err
}

var errPacked = errors.New("a packed value must begin with its length and a colon")

// unpack reads the values that lib/pack.lua has packed: of each value its length, a colon
// and the value.
func unpack(text string) ([]string, error) {
	var values []string
	for text != "" {
		length, rest, ok := strings.Cut(text, ":")
		n, err := strconv.Atoi(length)
		if !ok || err != nil || n < 0 || n > len(rest) {
			return nil, errPacked
		}
		values = append(values, rest[:n])
		text = rest[n:]
	}
	return values, nil
}

package redis

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// eventsPrefix and the number of a database, to which the channels of Redis do not
// belong, are the channel of its events.
const eventsPrefix = "mortise:events:"

// report is a watcher's answer from Redis, in line with the events: all that happened
// before comes before it.
type report struct {
	number       uint64 // of the request
	watchedSince string // when the present time of being watched began
	revision     uint64
	locks        []stores.LockInfo
}

// parseEvent reads what tell.lua publishes: kind, revision and the lock's description.
func parseEvent(message string) (stores.Event, error) {
	values, err := unpack(message)
	if err != nil || len(values) != 2+rowLen {
		return stores.Event{}, fmt.Errorf("no event: %q", message)
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

// parseReport reads what watch.lua publishes.
func parseReport(message string) (report, error) {
	values, err := unpack(message)
	if err != nil || len(values) < 3 {
		return report{}, fmt.Errorf("no report: %q", message)
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

var errPacked = errors.New("values are not packed well")

// unpack reads what pack in tell.lua writes: of each value the length, a colon and
// itself.
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

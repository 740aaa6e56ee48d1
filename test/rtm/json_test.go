package rtm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// object has the members of all answers and events. Members with other names or types are
// errors.
type object struct {
	ErrorCode   *int32               `json:"errorCode"`
	Operation   string               `json:"operation"`
	Reason      string               `json:"reason"`
	EventType   rtmpb.LockEvent_Type `json:"eventType"`
	Channel     string               `json:"channel"`
	ChannelType string               `json:"channelType"`
	LockName    string               `json:"lockName"`
	Owner       string               `json:"owner"`
	TTL         uint32               `json:"ttl"`
	LockRev     uint64               `json:"lockRev"`
	TotalLocks  int                  `json:"totalLocks"`
	Locks       []json.RawMessage    `json:"locks"`
	Expired     []json.RawMessage    `json:"expired"`
}

// read decodes an object that has exactly the given members, each once.
func read(text []byte, members string) (object, error) {
	var o object
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&o); err != nil {
		return o, fmt.Errorf("%s: %w", text, err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return o, fmt.Errorf("%s: %w", text, err)
	}
	want := strings.Fields(members)
	if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		return o, fmt.Errorf("%s must have exactly the members %q", text, want)
	}
	for name, value := range all {
		if string(value) == "null" {
			return o, fmt.Errorf("%s: %s must not be null", text, name)
		}
	}
	return o, nil
}

// types are the channel types in answers.
var types = map[string]channelType{"": 0, "MESSAGE": messageType, "STREAM": streamType}

// lock returns the lock that the object describes.
func (o object) lock() (lock, error) {
	kind, ok := types[o.ChannelType]
	if !ok {
		return lock{}, fmt.Errorf("channelType must be MESSAGE or STREAM, got %q", o.ChannelType)
	}
	return lock{o.Channel, kind, o.LockName, o.Owner, o.TTL, o.LockRev}, nil
}

// Members of a lock in the list of a channel, and in the list of a user.
const (
	inChannel = "lockName owner ttl lockRev"
	ofUser    = "channel channelType lockName owner ttl lockRev"
)

func readLocks(rows []json.RawMessage, members string) ([]lock, error) {
	var locks []lock
	for _, row := range rows {
		o, err := read(row, members)
		if err != nil {
			return nil, err
		}
		l, err := o.lock()
		if err != nil {
			return nil, err
		}
		locks = append(locks, l)
	}
	return locks, nil
}

// answerOf decodes the answer of a successful call.
func answerOf(operation string, text []byte) (answer, error) {
	o, err := read(text, answerMembers[operation])
	if err != nil {
		return answer{}, err
	}
	if *o.ErrorCode != 0 || o.TotalLocks != 0 && o.TotalLocks != len(o.Locks) {
		return answer{}, fmt.Errorf("%s is inconsistent", text)
	}
	rows := ofUser
	if operation == getLock {
		rows = inChannel
	}
	var a answer
	if a.lock, err = o.lock(); err != nil {
		return a, err
	}
	if a.locks, err = readLocks(o.Locks, rows); err != nil {
		return a, err
	}
	a.expired, err = readLocks(o.Expired, ofUser)
	return a, err
}

// eventOf decodes an event.
func eventOf(text []byte) (event, error) {
	var snapshot struct {
		EventType rtmpb.LockEvent_Type `json:"eventType"`
		Channel   string               `json:"channel"`
	}
	if err := json.Unmarshal(text, &snapshot); err != nil {
		return event{}, err
	}
	members, rows := "eventType "+ofUser, ""
	if snapshot.EventType == rtmpb.LockEvent_SNAPSHOT {
		members, rows = "eventType locks", ofUser
		if snapshot.Channel != "" {
			members, rows = "eventType channel channelType locks", inChannel
		}
	}
	o, err := read(text, members)
	if err != nil {
		return event{}, err
	}
	e := event{kind: o.EventType}
	if e.lock, err = o.lock(); err != nil {
		return e, err
	}
	e.locks, err = readLocks(o.Locks, rows)
	return e, err
}

// failureIn decodes a Status.
func failureIn(text []byte) error {
	o, err := read(text, "errorCode operation reason")
	if err != nil {
		return err
	}
	return &statusError{*o.ErrorCode, o.Operation, o.Reason}
}

// rejectionOf decodes the Status of an answer, and checks the HTTP code.
func rejectionOf(httpCode int, text []byte) error {
	err := failureIn(text)
	f, ok := err.(*statusError) //nolint:errorlint // it is not wrapped
	if !ok {
		return err
	}
	for _, row := range codeTable {
		if row.number == f.code && row.http == httpCode {
			return f
		}
	}
	return fmt.Errorf("%w with the HTTP code %d is not in codeTable", f, httpCode)
}

package binding

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mortise-lock/mortise/component/internal/rpcstatus"
)

// object is a JSON object that an app has sent. It is not nil.
type object map[string]json.RawMessage

// byteOrderMark may precede JSON in UTF-8 that an SDK has encoded.
const byteOrderMark = "\ufeff"

// parseObject parses the data of a call: a JSON object, or a JSON string that contains
// one, because some SDKs encode the app's JSON as a string. No data, null and an empty
// string are an empty object.
func parseObject(data []byte) (object, error) {
	data = trim(data)
	var text string
	if json.Unmarshal(data, &text) == nil { // also for null
		data = trim([]byte(text))
	}
	all := object{}
	if len(data) == 0 {
		return all, nil
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, rpcstatus.Field("data", "must be a JSON object")
	}
	if all == nil { // a string that contains null
		all = object{}
	}
	return all, nil
}

// trim removes a byte order mark and the surrounding white space.
func trim(text []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(text, []byte(byteOrderMark)))
}

// takeString removes a string and returns it, empty if it is missing.
func (o object) takeString(name string) (text string, err error) {
	value, ok := o[name]
	if !ok {
		return "", nil
	}
	delete(o, name)
	if err := json.Unmarshal(value, &text); err != nil {
		return "", rpcstatus.Field(name, "must be a string")
	}
	return text, nil
}

// setDefault sets a string unless it is empty or the object already has the name.
func (o object) setDefault(name, text string) {
	if _, ok := o[name]; !ok && text != "" {
		o[name], _ = json.Marshal(text) // cannot fail
	}
}

// text returns the object's JSON. Encoding it cannot fail.
func (o object) text() []byte {
	text, _ := json.Marshal(o)
	return text
}

// decodeInto sets the message's fields to those of the object. Durations are in Go's
// format, or numbers of seconds.
func (o object) decodeInto(m proto.Message) error {
	fields := m.ProtoReflect().Descriptor().Fields()
	for name, value := range o {
		field := fields.ByJSONName(name)
		if field == nil {
			return rpcstatus.Field(name, "is unknown, known fields are "+fieldNames(fields))
		}
		if !isDuration(field) {
			continue
		}
		d, err := parseDuration(value)
		if err != nil {
			return rpcstatus.Field(name, err.Error())
		}
		o[name], _ = protojson.Marshal(durationpb.New(d)) // cannot fail
	}
	if err := protojson.Unmarshal(o.text(), m); err != nil {
		return rpcstatus.Field("data", "is invalid: "+withoutPosition(err))
	}
	return nil
}

// fieldNames returns the names of the fields that an operation's data can have.
func fieldNames(fields protoreflect.FieldDescriptors) string {
	names := make([]string, fields.Len())
	for i := range names {
		names[i] = fields.Get(i).JSONName()
	}
	return strings.Join(names, ", ")
}

func isDuration(field protoreflect.FieldDescriptor) bool {
	return field.Message() != nil && field.Message().FullName() == (&durationpb.Duration{}).ProtoReflect().Descriptor().FullName()
}

// parseDuration parses a duration in Go's format, or a number of seconds.
func parseDuration(value json.RawMessage) (time.Duration, error) {
	var parsed any
	if err := json.Unmarshal(value, &parsed); err != nil {
		return 0, err
	}
	switch parsed := parsed.(type) {
	case string:
		if d, err := time.ParseDuration(parsed); err == nil {
			return d, nil
		}
	case float64:
		if d := parsed * float64(time.Second); d > -1<<63 && d < 1<<63 {
			return time.Duration(d), nil
		}
	}
	return 0, fmt.Errorf("must be a duration such as %q or a number of seconds, got %s", "1m30s", value)
}

// withoutPosition returns the text of a protojson error without its position, which is
// not a position in the app's text.
func withoutPosition(err error) string {
	text := err.Error()
	if _, fault, found := strings.Cut(text, "): "); found {
		return fault
	}
	return text
}

// seconds returns a duration in seconds, in a format that both Go and Protobuf's JSON
// parse. It returns "" for zero, which is the remaining time of a free lock.
func seconds(d *durationpb.Duration) string {
	if d.AsDuration() == 0 {
		return ""
	}
	text, _ := protojson.Marshal(d) // cannot fail for the services' durations
	return strings.Trim(string(text), `"`)
}

// encode returns the JSON of an answer or event, without HTML escapes.
func encode(v any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

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

// parseObject reads the data of a call: a JSON object, or a JSON string that contains
// one, because that is what an SDK sends for an object that the app has encoded itself.
// No data, null and an empty string are an empty object.
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
		return nil, rpcstatus.Field("data", "is no JSON object")
	}
	if all == nil { // a string with null in it
		all = object{}
	}
	return all, nil
}

// trimmed returns the text without a byte order mark and the space around it.
func trim(text []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(text, []byte(byteOrderMark)))
}

// take removes a text and returns it, empty if there is none.
func (o object) takeString(name string) (text string, err error) {
	value, ok := o[name]
	if !ok {
		return "", nil
	}
	delete(o, name)
	if err := json.Unmarshal(value, &text); err != nil {
		return "", rpcstatus.Field(name, "is no text")
	}
	return text, nil
}

// settle adds a text that is not empty, unless the object has one by that name.
func (o object) setDefault(name, text string) {
	if _, ok := o[name]; !ok && text != "" {
		o[name], _ = json.Marshal(text) // a text always can be
	}
}

// text is the object as JSON, which it always can be.
func (o object) text() []byte {
	text, _ := json.Marshal(o)
	return text
}

// fill sets the message's fields to those of the object. Durations are as Go has them, or
// numbers of seconds.
func (o object) decodeInto(m proto.Message) error {
	fields := m.ProtoReflect().Descriptor().Fields()
	for name, value := range o {
		field := fields.ByJSONName(name)
		if field == nil {
			return rpcstatus.Field(name, "is unknown, known are "+fieldNames(fields))
		}
		if !isDuration(field) {
			continue
		}
		d, err := parseDuration(value)
		if err != nil {
			return rpcstatus.Field(name, err.Error())
		}
		o[name], _ = protojson.Marshal(durationpb.New(d)) // a duration always can be
	}
	if err := protojson.Unmarshal(o.text(), m); err != nil {
		return rpcstatus.Field("data", "is not what it must be: "+withoutPosition(err))
	}
	return nil
}

// fieldNames are the fields that the data of an operation can have.
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

// parseDuration reads a duration as Go writes it, or a number of seconds.
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
	return 0, fmt.Errorf("is no duration such as %q or a number of seconds", "1m30s")
}

// withoutPlace is an error of protojson without where in the text it is: the text is not
// the app's.
func withoutPosition(err error) string {
	text := err.Error()
	if _, fault, found := strings.Cut(text, "): "); found {
		return fault
	}
	return text
}

// seconds is a duration as both Go and Protobuf's JSON have it, empty if it is zero: a
// lock that nobody holds has none.
func seconds(d *durationpb.Duration) string {
	if d.AsDuration() == 0 {
		return ""
	}
	text, _ := protojson.Marshal(d) // a duration that the services have made
	return strings.Trim(string(text), `"`)
}

// encode encodes an answer or event. What is in a key stays as it is.
func encode(v any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

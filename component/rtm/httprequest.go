package rtm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// maxBody bounds the body of a request, in bytes. A session's tells hundreds of locks in
// that.
const maxBody = 64 << 10

// storeField is the field that the path has, and nothing else.
const storeField = "store"

// member is one of a JSON object.
type jsonMember struct {
	name  string
	value json.RawMessage
}

// readRequest sets the message to what the request says, and lets its client take as long
// from here on as it likes. Errors name the field.
func readRequest(m protoreflect.Message, w http.ResponseWriter, r *http.Request) error {
	members, err := queryMembers(m.Descriptor().Fields(), r.URL.RawQuery)
	if err != nil {
		return err
	}
	if r.Method == http.MethodPost {
		body, err := readBody(w, r)
		if err != nil {
			return err
		}
		if len(body) > 0 || len(members) == 0 { // the query may say it all
			more, err := objectMembers("body", body)
			if err != nil {
				return err
			}
			members = append(members, more...)
		}
	}
	m.Set(m.Descriptor().Fields().ByName(storeField), protoreflect.ValueOfString(r.PathValue(storeField)))
	control := http.NewResponseController(w)
	_ = errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})) // a server without them sets none
	return setFields(m, "", members)
}

// readBody returns the body, if it is not too long and comes in time.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		return body, nil
	}
	code, fault := http.StatusBadRequest, "cannot be read: "+err.Error()
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		code, fault = http.StatusRequestEntityTooLarge, fmt.Sprintf("is longer than %d bytes", maxBody)
	} else if slow, ok := errors.AsType[net.Error](err); ok && slow.Timeout() {
		code, fault = http.StatusRequestTimeout, "did not come in time"
	}
	return nil, &httpError{code, invalid(invalidParameter, "body", fault)}
}

// queryMembers are the parameters of a query, as if they were in a body, for a message
// with these fields.
func queryMembers(fields protoreflect.FieldDescriptors, query string) ([]jsonMember, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, invalid(invalidParameter, "query", err.Error())
	}
	var members []jsonMember
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, text := range values[name] {
			members = append(members, jsonMember{name, queryValue(fields.ByJSONName(name), text)})
		}
	}
	return members, nil
}

// queryValue is a parameter's value in JSON: a string, or for a field that is none a
// number or a truth value. No field is nil.
func queryValue(field protoreflect.FieldDescriptor, text string) json.RawMessage {
	if field != nil && !field.IsList() && field.Kind() != protoreflect.StringKind && isLiteral(text) {
		return json.RawMessage(text)
	}
	quoted, _ := json.Marshal(text) // a string always can be
	return quoted
}

// isLiteral tells whether the text is a number or a truth value, as JSON writes them.
func isLiteral(text string) bool {
	return text == "true" || text == "false" || strings.Trim(text, "0123456789+-.eE") == "" && json.Valid([]byte(text))
}

// objectMembers are the members of a JSON object, in their order. At is where it is in
// the request.
func objectMembers(at string, text []byte) (members []jsonMember, err error) {
	if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
		return nil, invalid(invalidParameter, at, "is not JSON: "+err.Error())
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if first, _ := decoder.Token(); first != json.Delim('{') {
		return nil, invalid(invalidParameter, at, "must be an object")
	}
	for decoder.More() { // and no error, for it is JSON
		name, _ := decoder.Token()
		next := jsonMember{name: name.(string)}
		_ = decoder.Decode(&next.value)
		members = append(members, next)
	}
	return members, nil
}

// fill sets the message's fields to the members. Path is what the fields' names are told
// behind.
func setFields(m protoreflect.Message, path string, members []jsonMember) error {
	seen := map[string]bool{}
	for _, next := range members {
		field := m.Descriptor().Fields().ByJSONName(next.name)
		if field == nil || field.Name() == storeField {
			return invalid(invalidParameter, fmt.Sprintf("%s%.64q", path, next.name), "is no field; those are "+fieldNames(m))
		}
		if seen[next.name] {
			return invalid(invalidParameter, path+next.name, "is given twice")
		}
		seen[next.name] = true
		if err := setField(m, field, path+next.name, next.value); err != nil {
			return err
		}
	}
	return nil
}

// fieldNames are the fields that a request can have.
func fieldNames(m protoreflect.Message) string {
	var names []string
	for i := range m.Descriptor().Fields().Len() {
		if field := m.Descriptor().Fields().Get(i); field.Name() != storeField {
			names = append(names, field.JSONName())
		}
	}
	return strings.Join(names, ", ")
}

// set sets one field. At is where its value is in the request.
func setField(m protoreflect.Message, field protoreflect.FieldDescriptor, at string, text json.RawMessage) error {
	if field.IsList() {
		return appendMessages(m.Mutable(field).List(), at, text)
	}
	if field.Kind() == protoreflect.EnumKind {
		kind, ok := parseChannelType(text)
		m.Set(field, protoreflect.ValueOfEnum(kind.Number()))
		if !ok {
			return invalid(invalidChannelType, at, fmt.Sprintf(`is %.64s, must be 1 or "MESSAGE", or 2 or "STREAM"`, text))
		}
		return nil
	}
	value, fault := parseScalar(field.Kind(), text)
	if fault != "" {
		return invalid(invalidParameter, at, fault)
	}
	m.Set(field, value)
	return nil
}

// appendAll appends the objects of an array to a list of messages.
func appendMessages(list protoreflect.List, at string, text json.RawMessage) error {
	elements, ok := decode[[]json.RawMessage](text)
	if !ok {
		return invalid(invalidParameter, at, "must be an array")
	}
	for i, element := range elements {
		here := fmt.Sprintf("%s[%d]", at, i)
		members, err := objectMembers(here, element)
		if err != nil {
			return err
		}
		if err := setFields(list.AppendMutable().Message(), here+".", members); err != nil {
			return err
		}
	}
	return nil
}

// scalar is the value of a field of that kind, or what is wrong with it.
func parseScalar(kind protoreflect.Kind, text json.RawMessage) (value protoreflect.Value, fault string) {
	switch kind {
	case protoreflect.StringKind:
		s, ok := decode[string](text)
		if !ok || strings.ContainsRune(s, utf8.RuneError) { // what is no text is decoded to that
			return value, "must be a string, of valid characters"
		}
		return protoreflect.ValueOfString(s), ""
	case protoreflect.BoolKind:
		b, ok := decode[bool](text)
		if !ok {
			return value, "must be true or false"
		}
		return protoreflect.ValueOfBool(b), ""
	case protoreflect.Uint32Kind:
		n, ok := parseSeconds(text)
		if !ok {
			return value, "must be a whole number of seconds"
		}
		return protoreflect.ValueOfUint32(n), ""
	default:
		n, ok := decode[uint64](text)
		if !ok {
			return value, "must be a whole number"
		}
		return protoreflect.ValueOfUint64(n), ""
	}
}

// decode reads JSON as a value of that type. Null is of none.
func decode[T any](text json.RawMessage) (value T, ok bool) {
	var p *T
	if err := json.Unmarshal(text, &p); err != nil || p == nil {
		return value, false
	}
	return *p, true
}

// wholeSeconds reads a number of seconds. Whatever its size it means something: less than
// none is the shortest time, and too many are the longest.
func parseSeconds(text json.RawMessage) (uint32, bool) {
	n, err := strconv.ParseFloat(string(text), 64)
	if errors.Is(err, strconv.ErrSyntax) || n != math.Trunc(n) {
		return 0, false
	}
	if n < 0 {
		return 1, true
	}
	return uint32(min(n, math.MaxUint32)), true
}

// channelType reads the type of a channel, by number or name.
func parseChannelType(text json.RawMessage) (rtmpb.ChannelType, bool) {
	value, _ := decode[any](text)
	switch value {
	case 1.0, "MESSAGE":
		return rtmpb.ChannelType_MESSAGE, true
	case 2.0, "STREAM":
		return rtmpb.ChannelType_STREAM, true
	}
	return rtmpb.ChannelType_NONE, false
}

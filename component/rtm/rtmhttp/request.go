package rtmhttp

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

	"github.com/mortise-lock/mortise/component/rtm"
	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// maxBody is the maximum size of a request's body, in bytes. It is enough for hundreds of
// held locks.
const maxBody = 64 << 10

// storeField is the field that is part of the path, and not allowed elsewhere.
const storeField = "store"

// jsonMember is a member of a JSON object.
type jsonMember struct {
	name  string
	value json.RawMessage
}

// readRequest sets the message's fields from the request, and removes the request's
// deadlines. Errors name the field.
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
		if len(body) > 0 || len(members) == 0 { // with a query, the body may be empty
			more, err := objectMembers("body", body)
			if err != nil {
				return err
			}
			members = append(members, more...)
		}
	}
	m.Set(m.Descriptor().Fields().ByName(storeField), protoreflect.ValueOfString(r.PathValue(storeField)))
	// Both fail only with a ResponseWriter that has no deadlines.
	control := http.NewResponseController(w)
	_ = errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{}))
	return setFields(m, "", members)
}

// readBody returns the body. It fails if the body is too long or does not arrive in time.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		return body, nil
	}
	code, problem := http.StatusBadRequest, "cannot be read: "+err.Error()
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		code, problem = http.StatusRequestEntityTooLarge, fmt.Sprintf("must be at most %d bytes", maxBody)
	} else if slow, ok := errors.AsType[net.Error](err); ok && slow.Timeout() {
		code, problem = http.StatusRequestTimeout, "did not arrive in time"
	}
	return nil, &httpError{code, rtm.InvalidParameter("body", problem)}
}

// queryMembers returns the parameters of a query as members of an object with these
// fields.
func queryMembers(fields protoreflect.FieldDescriptors, query string) ([]jsonMember, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, rtm.InvalidParameter("query", "cannot be parsed: "+err.Error())
	}
	var members []jsonMember
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, text := range values[name] {
			members = append(members, jsonMember{name, queryValue(fields.ByJSONName(name), text)})
		}
	}
	return members, nil
}

// queryValue returns a parameter's value as JSON: a number or boolean if the text is one
// and the field is not a string, otherwise a string. The field is nil if it is unknown.
func queryValue(field protoreflect.FieldDescriptor, text string) json.RawMessage {
	if field != nil && !field.IsList() && field.Kind() != protoreflect.StringKind && isLiteral(text) {
		return json.RawMessage(text)
	}
	quoted, _ := json.Marshal(text) // cannot fail for a string
	return quoted
}

// isLiteral reports whether the text is a JSON number or boolean.
func isLiteral(text string) bool {
	return text == "true" || text == "false" || strings.Trim(text, "0123456789+-.eE") == "" && json.Valid([]byte(text))
}

// objectMembers returns the members of a JSON object in their order. Errors name the
// object at.
func objectMembers(at string, text []byte) (members []jsonMember, err error) {
	if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
		return nil, rtm.InvalidParameter(at, "must be JSON: "+err.Error())
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if first, _ := decoder.Token(); first != json.Delim('{') {
		return nil, rtm.InvalidParameter(at, "must be an object")
	}
	for decoder.More() { // errors are impossible, because the text is valid JSON
		name, _ := decoder.Token()
		next := jsonMember{name: name.(string)}
		_ = decoder.Decode(&next.value)
		members = append(members, next)
	}
	return members, nil
}

// setFields sets the message's fields to the members. Errors name fields with the path as
// a prefix.
func setFields(m protoreflect.Message, path string, members []jsonMember) error {
	seen := map[string]bool{}
	for _, next := range members {
		field := m.Descriptor().Fields().ByJSONName(next.name)
		if field == nil || field.Name() == storeField {
			problem := "is an unknown field, must be one of " + fieldNames(m)
			return rtm.InvalidParameter(fmt.Sprintf("%s%.64q", path, next.name), problem)
		}
		if seen[next.name] {
			return rtm.InvalidParameter(path+next.name, "must be given once")
		}
		seen[next.name] = true
		if err := setField(m, field, path+next.name, next.value); err != nil {
			return err
		}
	}
	return nil
}

// fieldNames lists the fields that a request may contain.
func fieldNames(m protoreflect.Message) string {
	var names []string
	for i := range m.Descriptor().Fields().Len() {
		if field := m.Descriptor().Fields().Get(i); field.Name() != storeField {
			names = append(names, field.JSONName())
		}
	}
	return strings.Join(names, ", ")
}

// setField sets one field. Errors name it at.
func setField(m protoreflect.Message, field protoreflect.FieldDescriptor, at string, text json.RawMessage) error {
	if field.IsList() {
		return appendMessages(m.Mutable(field).List(), at, text)
	}
	if field.Kind() == protoreflect.EnumKind {
		kind, ok := parseChannelType(text)
		m.Set(field, protoreflect.ValueOfEnum(kind.Number()))
		if !ok {
			return rtm.InvalidChannelType(at, fmt.Sprintf(`must be 1 or "MESSAGE", or 2 or "STREAM", got %.64s`, text))
		}
		return nil
	}
	value, problem := parseScalar(field.Kind(), text)
	if problem != "" {
		return rtm.InvalidParameter(at, problem)
	}
	m.Set(field, value)
	return nil
}

// appendMessages appends the objects of an array to a list of messages.
func appendMessages(list protoreflect.List, at string, text json.RawMessage) error {
	elements, ok := decode[[]json.RawMessage](text)
	if !ok {
		return rtm.InvalidParameter(at, "must be an array")
	}
	for i, element := range elements {
		name := fmt.Sprintf("%s[%d]", at, i)
		members, err := objectMembers(name, element)
		if err != nil {
			return err
		}
		if err := setFields(list.AppendMutable().Message(), name+".", members); err != nil {
			return err
		}
	}
	return nil
}

// parseScalar returns the value of a field of that kind, or why the text is invalid.
func parseScalar(kind protoreflect.Kind, text json.RawMessage) (value protoreflect.Value, problem string) {
	switch kind {
	case protoreflect.StringKind:
		s, ok := decode[string](text)
		// Decoding replaces invalid UTF-8 by RuneError.
		if !ok || strings.ContainsRune(s, utf8.RuneError) {
			return value, "must be a string of valid characters"
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

// decode decodes JSON into a value of type T. It returns false for other types and null.
func decode[T any](text json.RawMessage) (value T, ok bool) {
	var p *T
	if err := json.Unmarshal(text, &p); err != nil || p == nil {
		return value, false
	}
	return *p, true
}

// parseSeconds returns a whole number of seconds. Out of range numbers are valid: it
// returns 1 for negative ones, and the maximum for those that are too large.
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

// parseChannelType returns the channel type with that number or name.
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

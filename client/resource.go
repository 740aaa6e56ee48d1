package client

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Template formats the names of the resources of one kind from values of type T.
// [Resource] returns one; it is safe for concurrent use.
type Template[T any] struct {
	text   string
	before []string // the text before each value
	after  string   // the text after the last one
	fields []int    // indexes of T's fields for the values; nil if T itself is the value
	escape []string // the sign to escape in each value, the one that follows it, or ""
}

// placeholder matches ${name}.
var placeholder = regexp.MustCompile(`\$\{(\w+)\}`)

// Resource returns a template such as "user-${id}". Of replaces the placeholder with a T:
// a string, an integer, a bool, or a type with a MarshalText method, such as a UUID. With
// several placeholders T is a struct with one exported field for each; names match
// regardless of case, and every field must be used.
//
// Different values always result in different names: each placeholder but the last must
// be followed by a punctuation sign, and Of escapes that sign and the percent sign in the
// value, as in a URL.
//
// Resource panics if the template or T is invalid, because both are constants of the
// program, like a regular expression.
func Resource[T any](template string) *Template[T] {
	t := &Template[T]{text: template}
	places := placeholder.FindAllStringSubmatchIndex(template, -1)
	names, end := make([]string, len(places)), 0
	for i, at := range places {
		t.before = append(t.before, template[end:at[0]])
		names[i], end = template[at[2]:at[3]], at[1]
	}
	t.after = template[end:]
	if problem := t.check(names); problem != "" {
		panic(fmt.Sprintf("mortise: resource %q: %s", template, problem))
	}
	return t
}

// String returns the template's text.
func (t *Template[T]) String() string { return t.text }

// Of returns the name of the value's resource. It panics if MarshalText fails.
func (t *Template[T]) Of(value T) string {
	v := reflect.ValueOf(value)
	var name strings.Builder
	for i, before := range t.before {
		name.WriteString(before)
		field := v
		if t.fields != nil {
			field = v.Field(t.fields[i])
		}
		name.WriteString(escape(format(field), t.escape[i]))
	}
	return name.String() + t.after
}

// check validates the template and T, and sets fields and escape. It returns the problem,
// or "".
func (t *Template[T]) check(names []string) string {
	if len(names) == 0 {
		return "must have a placeholder such as ${id}"
	}
	for _, literal := range append(t.before, t.after) {
		if strings.Contains(literal, "${") {
			return "placeholders must have the form ${name}"
		}
	}
	if problem := t.findSeparators(); problem != "" {
		return problem
	}
	typ := reflect.TypeFor[T]()
	if isTextual(typ) {
		if len(names) > 1 {
			return fmt.Sprintf("%d placeholders require a struct, got %v", len(names), typ)
		}
		return ""
	}
	if typ.Kind() != reflect.Struct {
		return fmt.Sprintf("a value must be a string, an integer, a bool or a TextMarshaler, got %v", typ)
	}
	return t.assignFields(typ, names)
}

// findSeparators finds the sign after each value but the last.
func (t *Template[T]) findSeparators() string {
	t.escape = make([]string, len(t.before))
	for i, literal := range t.before[1:] {
		sign := strings.IndexFunc(literal, func(r rune) bool { return r < unicode.MaxASCII && (unicode.IsPunct(r) || unicode.IsSymbol(r)) })
		if sign != 0 || literal[0] == '%' {
			return "every placeholder but the last must be followed by a punctuation sign"
		}
		t.escape[i] = literal[:1]
	}
	return ""
}

// assignFields gives each placeholder its field.
func (t *Template[T]) assignFields(typ reflect.Type, names []string) string {
	used := map[int]bool{}
	for _, name := range names {
		field, ok := typ.FieldByNameFunc(func(field string) bool { return strings.EqualFold(field, name) })
		switch {
		case !ok || !field.IsExported() || len(field.Index) > 1:
			return fmt.Sprintf("%v has no field for ${%s}", typ, name)
		case used[field.Index[0]]:
			return fmt.Sprintf("${%s} must occur once", name)
		case !isTextual(field.Type):
			return fmt.Sprintf("a value must be a string, an integer, a bool or a TextMarshaler, got %v", field.Type)
		}
		used[field.Index[0]] = true
		t.fields = append(t.fields, field.Index[0])
	}
	for i := range typ.NumField() {
		if !used[i] {
			return fmt.Sprintf("must have a placeholder for the field %s", typ.Field(i).Name)
		}
	}
	return ""
}

// isTextual reports whether each value of the type has exactly one text.
func isTextual(typ reflect.Type) bool {
	switch kind := typ.Kind(); {
	case kind == reflect.Interface || kind == reflect.Pointer:
		return false
	case typ.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return true
	default:
		return kind == reflect.String || kind == reflect.Bool || kind >= reflect.Int && kind <= reflect.Uint64
	}
}

// format returns the text of a value whose type is textual.
func format(v reflect.Value) string {
	if text, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := text.MarshalText()
		if err != nil {
			panic(fmt.Sprintf("mortise: resource: %v", err))
		}
		return string(b)
	}
	switch {
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10)
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10)
	case v.Kind() == reflect.Bool:
		return strconv.FormatBool(v.Bool())
	}
	return v.String()
}

// escape replaces sign and the percent sign with %XX. If sign is empty, it changes
// nothing.
func escape(value, sign string) string {
	if sign == "" {
		return value
	}
	return strings.NewReplacer("%", "%25", sign, fmt.Sprintf("%%%02X", sign[0])).Replace(value)
}

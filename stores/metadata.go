package stores

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/go-viper/mapstructure/v2"
)

// keyTag is the struct tag that names a configuration field's metadata key.
const keyTag = "mapstructure"

// commonKeys are supported by every store: store selects the backend, and daprd itself
// applies keyPrefix.
var commonKeys = []string{"store", "keyPrefix"}

// Decode sets the fields of config from a component's metadata. config is a pointer to a
// struct that contains the defaults and whose fields have their metadata key in a
// mapstructure tag. The case of keys is ignored, and an empty value means the default.
// Booleans are y, yes, true, t, on, 1 or their opposites; durations are as in Go
// ("1m30s") or whole seconds; a type that implements encoding.TextUnmarshaler decodes
// itself. The error names the key and does not contain the value.
func Decode(md map[string]string, config any) error {
	values, err := foldKeys(md)
	if err != nil {
		return err
	}
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:           config,
		TagName:          keyTag,
		WeaklyTypedInput: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.TextUnmarshallerHookFunc(),
			mapstructure.DecodeHookFuncType(decodeBool),
			mapstructure.DecodeHookFuncType(decodeDuration),
		),
	})
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	var bad *mapstructure.DecodeError
	if err := decoder.Decode(values); errors.As(err, &bad) {
		return fmt.Errorf("metadata key %s: %w", bad.Name(), errors.Unwrap(bad))
	} else if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	return nil
}

// foldKeys lower-cases the keys and drops empty values. It fails if two keys differ only
// in case, because the choice between them would be random.
func foldKeys(md map[string]string) (map[string]string, error) {
	written := make(map[string]string, len(md))
	values := make(map[string]string, len(md))
	for key, value := range md {
		// Both, because EqualFold considers a few other letters equal to ASCII ones.
		folded := strings.ToLower(strings.ToUpper(key))
		if twin, ok := written[folded]; ok {
			pair := []string{key, twin}
			slices.Sort(pair)
			return nil, fmt.Errorf("metadata keys %s and %s differ only in case", pair[0], pair[1])
		}
		written[folded] = key
		if value != "" {
			values[folded] = value
		}
	}
	return values, nil
}

func decodeBool(from, to reflect.Type, value any) (any, error) {
	if from.Kind() != reflect.String || to.Kind() != reflect.Bool {
		return value, nil
	}
	switch strings.ToLower(strings.TrimSpace(value.(string))) {
	case "y", "yes", "true", "t", "on", "1":
		return true, nil
	case "n", "no", "false", "f", "off", "0":
		return false, nil
	}
	return nil, errors.New("must be true or false")
}

func decodeDuration(from, to reflect.Type, value any) (any, error) {
	if from.Kind() != reflect.String || to != reflect.TypeFor[time.Duration]() {
		return value, nil
	}
	return ParseDuration(value.(string), time.Second)
}

// ParseDuration parses a duration as [time.ParseDuration] does, or a whole number of
// units. The error does not contain the value.
func ParseDuration(value string, unit time.Duration) (time.Duration, error) {
	value = strings.TrimSpace(value)
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		if d := time.Duration(n) * unit; d/unit == time.Duration(n) {
			return d, nil
		}
		return 0, fmt.Errorf("must be at most %v", time.Duration(math.MaxInt64))
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		return 0, fmt.Errorf("must be a duration such as 1m30s or a whole number of %v", unit)
	}
	return d, nil
}

// Keys returns the metadata keys of a configuration struct, or of a pointer to one,
// including the keys that every store supports. Their case is that of the documentation.
func Keys(config any) []string {
	t := reflect.TypeOf(config)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	keys := slices.Clone(commonKeys)
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get(keyTag); key != "" && key != "-" {
			keys = append(keys, key)
		}
	}
	return keys
}

func contains(keys []string, key string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, key) })
}

// nearest returns the known key with the smallest edit distance from key.
func nearest(known []string, key string) string {
	distance := func(k string) int { return levenshtein.ComputeDistance(strings.ToLower(k), strings.ToLower(key)) }
	return slices.MinFunc(known, func(a, b string) int { return distance(a) - distance(b) })
}

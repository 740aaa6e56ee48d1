// Package keyprefix finds keyPrefix in a component's metadata. daprd, and the APIs in its
// place, begin the keys of a component's locks as keyPrefix says; stores ignore it.
package keyprefix

import (
	"fmt"
	"strings"
)

// Separator separates the parts of a key. No part may contain it.
const Separator = "||"

// Is reports whether name is that of the metadata key keyPrefix. As for all metadata
// keys, the case does not matter.
func Is(name string) bool { return strings.EqualFold(name, "keyPrefix") }

// Of returns the keyPrefix in the metadata. It returns false if there is none.
func Of(metadata map[string]string) (prefix string, ok bool) {
	for name, value := range metadata {
		if Is(name) {
			return value, true
		}
	}
	return "", false
}

// CheckPart returns an error if a part of a key contains the separator. The text is that
// of daprd and Layotto.
func CheckPart(part string) error {
	if strings.Contains(part, Separator) {
		return fmt.Errorf("input key/keyPrefix '%s' can't contain '%s'", part, Separator)
	}
	return nil
}

package resources

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// defaultInitTimeout bounds the opening of a component whose file does not say how long
// it may take.
const defaultInitTimeout = 5 * time.Second

// Component is Dapr's Component, version v1alpha1.
type Component struct {
	TypeMeta `json:",inline"`
	Metadata ObjectMeta `json:"metadata,omitempty"`
	Spec     Spec       `json:"spec,omitempty"`
	Auth     Auth       `json:"auth,omitempty"`
	Scoped   `json:",inline"`

	// File is where the component was read. It is not part of the document.
	File string `json:"-"`
}

// TypeMeta says what a document describes.
type TypeMeta struct {
	Kind       string `json:"kind,omitempty"`
	APIVersion string `json:"apiVersion,omitempty"`
}

// Spec says what a component is.
type Spec struct {
	Type         string `json:"type"`
	Version      string `json:"version"`
	IgnoreErrors bool   `json:"ignoreErrors"`
	Metadata     []Item `json:"metadata"`
	InitTimeout  string `json:"initTimeout"`
}

// Auth names the secret store of the component's secrets.
type Auth struct {
	SecretStore string `json:"secretStore"`
}

// Scoped restricts a component to apps.
type Scoped struct {
	Scopes []string `json:"scopes,omitempty"` // ids of the apps that may use the component; empty is every app
}

// Item is one metadata entry: a value, or where to find it.
type Item struct {
	Name         string       `json:"name"`
	Value        DynamicValue `json:"value,omitempty"`
	SecretKeyRef SecretKeyRef `json:"secretKeyRef,omitempty"`
	EnvRef       string       `json:"envRef,omitempty"`
}

// SecretKeyRef is the place of a value in a secret store.
type SecretKeyRef struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// DynamicValue is a value of any type, in JSON; empty if there is none.
type DynamicValue []byte

// UnmarshalJSON implements [json.Unmarshaler]. null is the same as no value.
func (v *DynamicValue) UnmarshalJSON(text []byte) error {
	if string(text) != "null" {
		*v = slices.Clone(text)
	}
	return nil
}

var _ json.Unmarshaler = (*DynamicValue)(nil)

// String returns a string as it is and any other value in JSON.
func (v DynamicValue) String() string { return unquote(string(v)) }

func unquote(text string) string {
	if unquoted, err := strconv.Unquote(text); err == nil {
		return unquoted
	}
	return text
}

// IsFor reports whether the app may use the component.
func (s Scoped) IsFor(app string) bool { return len(s.Scopes) == 0 || slices.Contains(s.Scopes, app) }

// Timeout returns how long opening the component may take. A timeout that cannot be read
// is the default, as in daprd.
func (s Spec) Timeout() time.Duration {
	if timeout, err := time.ParseDuration(s.InitTimeout); err == nil {
		return timeout
	}
	return defaultInitTimeout
}

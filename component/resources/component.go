package resources

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// defaultInitTimeout is the init timeout of a component whose file has none.
const defaultInitTimeout = 5 * time.Second

// Component is Dapr's Component, version v1alpha1.
type Component struct {
	TypeMeta `json:",inline"`
	Metadata ObjectMeta `json:"metadata,omitempty"`
	Spec     Spec       `json:"spec,omitempty"`
	Auth     Auth       `json:"auth,omitempty"`
	Scoped   `json:",inline"`

	// File is the path of the file that the component was read from. It is not part of
	// the document.
	File string `json:"-"`
}

// TypeMeta is the kind of a document.
type TypeMeta struct {
	Kind       string `json:"kind,omitempty"`
	APIVersion string `json:"apiVersion,omitempty"`
}

// Spec is the specification of a component.
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
	// Scopes are the ids of the apps that may use the component. Empty means every app.
	Scopes []string `json:"scopes,omitempty"`
}

// Item is a metadata entry: a value or a reference to one.
type Item struct {
	Name         string       `json:"name"`
	Value        DynamicValue `json:"value,omitempty"`
	SecretKeyRef SecretKeyRef `json:"secretKeyRef,omitempty"`
	EnvRef       string       `json:"envRef,omitempty"`
}

// SecretKeyRef refers to a value in a secret store.
type SecretKeyRef struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// DynamicValue is a value of any type, in JSON. It is empty if there is no value.
type DynamicValue []byte

// UnmarshalJSON implements [json.Unmarshaler]. null means no value.
func (v *DynamicValue) UnmarshalJSON(text []byte) error {
	if string(text) != "null" {
		*v = slices.Clone(text)
	}
	return nil
}

var _ json.Unmarshaler = (*DynamicValue)(nil)

// String returns a string value as it is and other values in JSON.
func (v DynamicValue) String() string { return unquote(string(v)) }

func unquote(text string) string {
	if unquoted, err := strconv.Unquote(text); err == nil {
		return unquoted
	}
	return text
}

// IsFor reports whether the app may use the component.
func (s Scoped) IsFor(app string) bool { return len(s.Scopes) == 0 || slices.Contains(s.Scopes, app) }

// Timeout returns how long opening the component may take. An invalid timeout means the
// default, as in daprd.
func (s Spec) Timeout() time.Duration {
	if timeout, err := time.ParseDuration(s.InitTimeout); err == nil {
		return timeout
	}
	return defaultInitTimeout
}

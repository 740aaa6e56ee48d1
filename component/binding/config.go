package binding

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// Config is the part of a binding's metadata that this API reads. The other keys describe
// the binding's own store.
type Config struct {
	// LockStore is the component whose store the binding uses. Without it the binding has
	// its own store, which its metadata describes like a lock component's.
	LockStore string `mapstructure:"lockStore"`
	// User is the user of channel operations that name none, and of the subscriptions to
	// Channels.
	User string `mapstructure:"user"`
	// Keys are the locks whose events the app receives: keys, or prefixes of keys
	// followed by an asterisk, separated by commas.
	Keys string `mapstructure:"keys"`
	// Channels are the channels whose lock events the app receives: types and names such
	// as MESSAGE/lobby, separated by commas.
	Channels string `mapstructure:"channels"`
	// Retries is how often an event that the app rejects is delivered again.
	Retries int `mapstructure:"retries"`

	Direction string `mapstructure:"direction"` // daprd's: input, output
	Route     string `mapstructure:"route"`     // daprd's: the app's path for the events
}

// maxRetries limits how long one event can delay the next.
const maxRetries = 100

// binding is one component of our type, as one sidecar has initialized it.
type binding struct {
	name        string
	store       string            // the component whose store it uses
	ownMetadata map[string]string // of the binding's own store; nil if it has none
	user        string
	retries     int
	sources     []source // of the app's events
}

// parse reads the metadata of a binding.
func parse(name string, metadata map[string]string) (*binding, error) {
	c := Config{Retries: 3}
	if err := stores.Decode(metadata, &c); err != nil {
		return nil, err
	}
	if c.Retries < 0 || c.Retries > maxRetries {
		return nil, fmt.Errorf("metadata key retries: must be 0 to %d, got %d", maxRetries, c.Retries)
	}
	b := &binding{name: name, store: name, user: c.User, retries: c.Retries}
	if err := cmp.Or(b.addKeys(c.Keys), b.addChannels(c.Channels)); err != nil {
		return nil, err
	}
	rest := storeMetadata(metadata)
	switch {
	case c.LockStore == "":
		b.ownMetadata = rest
	case len(rest) == 0:
		b.store = c.LockStore
	default:
		return nil, fmt.Errorf("metadata keys %q: must not be set together with lockStore", slices.Sorted(maps.Keys(rest)))
	}
	return b, nil
}

// storeMetadata returns the metadata without this API's keys.
func storeMetadata(metadata map[string]string) map[string]string {
	rest := make(map[string]string, len(metadata))
	ours := configKeys()
	for key, value := range metadata {
		if !slices.ContainsFunc(ours, func(own string) bool { return strings.EqualFold(own, key) }) {
			rest[key] = value
		}
	}
	return rest
}

// configKeys returns the keys of Config. It removes those that stores.Keys adds for every
// store.
func configKeys() []string {
	common := stores.Keys(struct{}{})
	return slices.DeleteFunc(stores.Keys(Config{}), func(key string) bool { return slices.Contains(common, key) })
}

// addKeys adds a source for each entry of the metadata.
func (b *binding) addKeys(list string) error {
	for entry := range splitList(list) {
		prefix, open := strings.CutSuffix(entry, "*")
		if len(prefix) > stores.MaxKeyLen {
			return fmt.Errorf("metadata key keys: each must be at most %d bytes, got %d", stores.MaxKeyLen, len(prefix))
		}
		b.sources = append(b.sources, &keySource{entry: entry, prefix: prefix, exact: !open})
	}
	return nil
}

// addChannels adds a source for each entry of the metadata.
func (b *binding) addChannels(list string) error {
	for entry := range splitList(list) {
		kind, name, _ := strings.Cut(entry, "/")
		number, known := channelTypes[strings.ToUpper(kind)]
		if !known || name == "" {
			return fmt.Errorf("metadata key channels: each must be MESSAGE/ or STREAM/ and a name, got %q", entry)
		}
		if b.user == "" {
			return errors.New("metadata key channels: requires the metadata key user")
		}
		b.sources = append(b.sources, &channelSource{entry: entry, kind: number, channel: name})
	}
	return nil
}

// splitList returns the entries of a comma-separated list, trimmed and without empty
// ones.
func splitList(list string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for entry := range strings.SplitSeq(list, ",") {
			if entry = strings.TrimSpace(entry); entry != "" && !yield(entry) {
				return
			}
		}
	}
}

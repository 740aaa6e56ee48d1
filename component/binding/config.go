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

// Config is what a binding's metadata says to this API. What else is there describes the
// binding's own store.
type Config struct {
	// LockStore is the component whose store the binding uses. Without it the binding has
	// a store of its own, which its metadata describes as a lock component's does.
	LockStore string `mapstructure:"lockStore"`
	// User is whose the calls on channels are that name none, and who listens to
	// Channels.
	User string `mapstructure:"user"`
	// Keys are the locks that the app is told of: keys, or beginnings of keys with an
	// asterisk behind them, separated by commas.
	Keys string `mapstructure:"keys"`
	// Channels are the channels of whose locks the app is told: types and names such as
	// MESSAGE/lobby, separated by commas.
	Channels string `mapstructure:"channels"`
	// Retries is how often the app is given an event again that it has failed on.
	Retries int `mapstructure:"retries"`

	Direction string `mapstructure:"direction"` // daprd's: input, output
	Route     string `mapstructure:"route"`     // daprd's: where the app wants the events
}

// maxRetries bounds for how long one event may hold up the next.
const maxRetries = 100

// binding is one component of our type, as one sidecar has initialized it.
type binding struct {
	name        string
	store       string            // the component whose store it uses
	ownMetadata map[string]string // what that is opened from, if it is the binding's own; else nil
	user        string
	retries     int
	sources     []source // what its app is told of
}

// parse reads the metadata of a binding.
func parse(name string, metadata map[string]string) (*binding, error) {
	c := Config{Retries: 3}
	if err := stores.Decode(metadata, &c); err != nil {
		return nil, err
	}
	if c.Retries < 0 || c.Retries > maxRetries {
		return nil, fmt.Errorf("metadata key retries: is not in 0 to %d", maxRetries)
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
		return nil, fmt.Errorf("metadata keys %q: the store is that of lockStore, and has its own", slices.Sorted(maps.Keys(rest)))
	}
	return b, nil
}

// storeMetadata is what is not ours.
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

// ourKeys are the keys of Config. stores.Keys adds those that every store knows.
func configKeys() []string {
	common := stores.Keys(struct{}{})
	return slices.DeleteFunc(stores.Keys(Config{}), func(key string) bool { return slices.Contains(common, key) })
}

// addKeys adds a source for each entry of the metadata.
func (b *binding) addKeys(list string) error {
	for entry := range splitList(list) {
		prefix, open := strings.CutSuffix(entry, "*")
		if len(prefix) > stores.MaxKeyLen {
			return fmt.Errorf("metadata key keys: has one of %d bytes, the most is %d", len(prefix), stores.MaxKeyLen)
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
			return fmt.Errorf("metadata key channels: %q is no MESSAGE/ or STREAM/ with a name behind it", entry)
		}
		if b.user == "" {
			return errors.New("metadata key channels: needs a user")
		}
		b.sources = append(b.sources, &channelSource{entry: entry, kind: number, channel: name})
	}
	return nil
}

// entries are the parts of a list, without the space around them, and without empty ones.
func splitList(list string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for entry := range strings.SplitSeq(list, ",") {
			if entry = strings.TrimSpace(entry); entry != "" && !yield(entry) {
				return
			}
		}
	}
}

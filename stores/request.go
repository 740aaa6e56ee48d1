package stores

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Request asks for a lock.
type Request struct {
	Key   string        // the lock's final name in the store: 1 to MaxKeyLen bytes that do not begin with ReservedPrefix
	Owner string        // whose lock it will be, unique per request: 1 to MaxOwnerLen bytes
	TTL   time.Duration // how long it lasts: MinTTL to MaxTTL; a store may round it up to the unit of its storage

	// Group, if it is not empty, asks for a lock that was declared in this group (see
	// [Declarer]), and fails with ErrNotDeclared if there is none. TTL is zero then: the
	// lock lasts as long as it was declared to. The owner is a name that comes again, and
	// not unique per request; so if it holds the lock or waits for it the request fails,
	// with ErrRepeated. Renew has no use for a Group.
	Group string

	// Metadata is what people shall see beside the lock in a list: a host, a purpose.
	// Keys and values are valid UTF-8, of MaxMetadata bytes together. It changes nothing,
	// and a renewal keeps it.
	Metadata map[string]string

	// Holding are the owners of locks that will not be given back before this request is
	// answered: at most MaxHolding. A Waiter tells by them when waiting would never end.
	// TryLock and Renew, which do not wait, have no use for it.
	Holding []string
}

// MultiRequest asks for several locks in one step. The fields are those of Request.
type MultiRequest struct {
	Keys     []string // 1 to MaxKeys, no two equal
	Owner    string
	TTL      time.Duration
	Metadata map[string]string
	Holding  []string

	// Wait tells to wait for the locks as a Waiter does, and not only to try. It needs a
	// store that is a Waiter too.
	Wait bool
}

// Grant is a store's answer to a request for a lock.
type Grant struct {
	// Acquired tells whether the owner holds the lock. If not, the other fields are zero.
	Acquired bool

	// Token is the fencing token: greater than every token the store gave for this key
	// before, across unlock, expiry and restarts of every process involved. A resource
	// that refuses a token smaller than one it has seen is safe from a holder that
	// outlived its lease. Zero means that the lock has none, because a foreign program
	// took it.
	Token uint64

	// TTL is how long the lock lasts from the grant, as asked for or, with a Group, as
	// declared.
	TTL time.Duration

	// Expires is when the holder must stop relying on the lock, on the caller's monotonic
	// clock. It is never later than the moment the store lets somebody else in: it is
	// counted from before the request left, or if the request waited, from a moment that
	// is surely not after the grant.
	Expires time.Time
}

// Validate returns a *FieldError for the first field that is out of bounds, or nil.
func (r Request) Validate() error {
	if r.Group == "" {
		return firstError(
			validateKey("key", r.Key),
			validateAsker(r.Owner, r.TTL, r.Metadata, r.Holding),
		)
	}
	if r.TTL != 0 {
		return &FieldError{"ttl", "must be zero if group is set"}
	}
	return firstError(
		validateMember(r.Group, r.Key),
		validateLen("owner", r.Owner, MaxOwnerLen),
		validateMetadata(r.Metadata),
		validateHolding(r.Holding),
	)
}

// Validate returns a *FieldError for the first field that is out of bounds, or nil.
func (d Declaration) Validate() error {
	return firstError(validateMember(d.Group, d.Key), validateTTL(d.TTL))
}

// Validate returns a *FieldError for the first field that is out of bounds, or nil.
func (r MultiRequest) Validate() error {
	return firstError(validateKeys(r.Keys), validateAsker(r.Owner, r.TTL, r.Metadata, r.Holding))
}

// ValidateKey returns a *FieldError if key or owner is out of bounds, or nil.
func ValidateKey(key, owner string) error {
	return firstError(validateKey("key", key), validateLen("owner", owner, MaxOwnerLen))
}

func validateMember(group, key string) error {
	if err := firstError(validateLen("group", group, MaxKeyLen), validateKey("key", key)); err != nil {
		return err
	}
	if !strings.HasPrefix(key, group) {
		return &FieldError{"key", "must begin with the group"}
	}
	return nil
}

func validateAsker(owner string, ttl time.Duration, metadata map[string]string, holding []string) error {
	return firstError(
		validateLen("owner", owner, MaxOwnerLen),
		validateTTL(ttl),
		validateMetadata(metadata),
		validateHolding(holding),
	)
}

func validateKeys(keys []string) error {
	if n := len(keys); n == 0 || n > MaxKeys {
		return &FieldError{"keys", fmt.Sprintf("must be 1 to %d, got %d", MaxKeys, n)}
	}
	for i, key := range keys {
		if err := validateKey("keys", key); err != nil {
			return err
		}
		if slices.Contains(keys[:i], key) {
			return &FieldError{"keys", "must not contain a key twice"}
		}
	}
	return nil
}

func validateTTL(ttl time.Duration) error {
	switch {
	case ttl < MinTTL:
		return &FieldError{"ttl", fmt.Sprintf("must be at least %v, got %v", MinTTL, ttl)}
	case ttl > MaxTTL:
		return &FieldError{"ttl", fmt.Sprintf("must be at most %v, got %v", MaxTTL, ttl)}
	}
	return nil
}

func validateMetadata(metadata map[string]string) error {
	size := 0
	for key, value := range metadata {
		size += len(key) + len(value)
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return &FieldError{"metadata", "must be valid UTF-8"}
		}
	}
	if size > MaxMetadata {
		return &FieldError{"metadata", fmt.Sprintf("must be at most %d bytes, got %d", MaxMetadata, size)}
	}
	return nil
}

func validateHolding(holding []string) error {
	if n := len(holding); n > MaxHolding {
		return &FieldError{"holding", fmt.Sprintf("must be at most %d owners, got %d", MaxHolding, n)}
	}
	for _, owner := range holding {
		if err := validateLen("holding", owner, MaxOwnerLen); err != nil {
			return err
		}
	}
	return nil
}

func validateKey(field, key string) error {
	if strings.HasPrefix(key, ReservedPrefix) {
		return &FieldError{field, fmt.Sprintf("must not begin with %q, which is reserved", ReservedPrefix)}
	}
	return validateLen(field, key, MaxKeyLen)
}

func validateLen(field, value string, limit int) error {
	switch {
	case value == "":
		return &FieldError{field, "must not be empty"}
	case len(value) > limit:
		return &FieldError{field, fmt.Sprintf("must be at most %d bytes, got %d", limit, len(value))}
	}
	return nil
}

// firstError returns the first of the errors that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

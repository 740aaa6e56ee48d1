package stores

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Request is a request for a lock.
type Request struct {
	// Key is the lock's final name in the store. It has 1 to MaxKeyLen bytes and does not
	// begin with ReservedPrefix.
	Key string

	// Owner identifies the holder. It has 1 to MaxOwnerLen bytes and is unique for each
	// request.
	Owner string

	// TTL is the time after which the lock expires, from MinTTL to MaxTTL. A store may
	// round it up to the unit of its storage.
	TTL time.Duration

	// Group, if it is not empty, requires that the lock was declared in this group (see
	// [Declarer]); otherwise the request fails with ErrNotDeclared. TTL must be zero
	// then: the lock has the TTL of its declaration. The owner is the same in all of its
	// requests, and so a request fails with ErrRepeated if the owner already holds the
	// lock or waits for it. Renew ignores Group.
	Group string

	// Metadata is information for people who list the locks, for example a host or a
	// purpose. Its keys and values are valid UTF-8 and have at most MaxMetadata bytes
	// together. It has no other effect. Renewals do not change it.
	Metadata map[string]string

	// Holding are the owners of locks that the caller will not release before this
	// request returns, at most MaxHolding. A Waiter detects deadlocks by them. TryLock
	// and Renew, which do not wait, ignore it.
	Holding []string
}

// MultiRequest is a request for several locks in one step. Its fields are those of
// Request.
type MultiRequest struct {
	Keys     []string // 1 to MaxKeys, no two equal
	Owner    string
	TTL      time.Duration
	Metadata map[string]string
	Holding  []string

	// Wait makes the request wait for the locks as a Waiter does. The store must be a
	// Waiter too.
	Wait bool
}

// Grant is the result of a request for a lock.
type Grant struct {
	// Acquired reports whether the owner holds the lock. If not, the other fields are
	// zero.
	Acquired bool

	// Token is the fencing token. It is greater than every earlier token of this key,
	// across unlocks, expiries and restarts of all processes. A resource that rejects
	// tokens smaller than the largest it has seen is protected from holders whose lock
	// has expired. Token is zero if another program acquired the lock.
	Token uint64

	// TTL is the TTL of the lock: the requested one or, with a Group, the declared one.
	TTL time.Duration

	// Expires is when the holder must stop relying on the lock, on the caller's monotonic
	// clock. It is never later than the time when the store can grant the lock to another
	// owner: it is counted from before the request was sent or, if the request waited,
	// from a time that is not after the grant.
	Expires time.Time
}

// Validate returns a *FieldError for the first field that is not within its limits, or
// nil.
func (r Request) Validate() error {
	if r.Group == "" {
		return firstError(
			validateKey("key", r.Key),
			validateCommon(r.Owner, r.TTL, r.Metadata, r.Holding),
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

// Validate returns a *FieldError for the first field that is not within its limits, or
// nil.
func (d Declaration) Validate() error {
	return firstError(validateMember(d.Group, d.Key), validateTTL(d.TTL))
}

// Validate returns a *FieldError for the first field that is not within its limits, or
// nil.
func (r MultiRequest) Validate() error {
	return firstError(validateKeys(r.Keys), validateCommon(r.Owner, r.TTL, r.Metadata, r.Holding))
}

// ValidateKey returns a *FieldError if key or owner is not within its limits, or nil.
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

func validateCommon(owner string, ttl time.Duration, metadata map[string]string, holding []string) error {
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

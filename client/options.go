package client

import (
	"maps"
	"time"
)

// DefaultTTL is how long a lock lasts that nobody renews, unless [TTL] says otherwise.
const DefaultTTL = 30 * time.Second

// forever is the wait of a call that sets none, and the longest: a century, which leaves
// room for sums.
const forever = 100 * 365 * 24 * time.Hour

// Option changes how a lock is taken: for one call, for a client that [Client.With]
// derives, or for all calls of a client if [Dial] gets it.
type Option func(*settings)

func (o Option) dial(d *dialConfig) { o(&d.settings) }

// settings is what a call goes by. Its zero value is not valid.
type settings struct {
	store     string
	namespace string
	tenant    *string // nil: of nobody in particular
	ttl       time.Duration
	wait      time.Duration
	metadata  map[string]string
	noRenew   bool
	holding   []string // owners that requests declare besides those of ctx

	level  *int    // of DoIsolated: the level to start from
	source *string // of DoIsolated: the data source
}

func (s settings) with(opts []Option) settings {
	for _, o := range opts {
		o(&s)
	}
	return s
}

// Store names the component whose store keeps the locks. Without it the server takes the
// one that is open, if it is one.
func Store(name string) Option { return func(s *settings) { s.store = name } }

// Namespace sets the first part of the key, by which programs that share a store keep
// their locks apart: the key is "namespace:tenant:resource". It must not contain a colon;
// "mortise" is reserved.
func Namespace(name string) Option { return func(s *settings) { s.namespace = name } }

// Tenant makes it the tenant's own lock of the resource; see [WithTenant]. It must not be
// empty or contain a colon.
func Tenant(name string) Option {
	return func(s *settings) { s.tenant = &name }
}

// Global makes it one lock of the resource for all, as if there were no tenants, whatever
// ctx or the client's defaults say.
func Global() Option { return func(s *settings) { s.tenant = nil } }

// TTL sets how long the lock lasts if nobody renews it: how long others wait for a
// program that died. At least 1 ms.
func TTL(d time.Duration) Option { return func(s *settings) { s.ttl = d } }

// Wait sets how long to wait for the lock before it is [ErrLocked]. With 0 or less there
// is no waiting. Without it Lock waits until ctx ends. If Mortise does not answer, it can
// take a second or two more.
func Wait(d time.Duration) Option { return func(s *settings) { s.wait = min(max(d, 0), forever) } }

// Metadata adds what people see beside the lock in a list: a host, a purpose. At most
// 4096 bytes in all.
func Metadata(m map[string]string) Option {
	return func(s *settings) {
		merged := make(map[string]string, len(s.metadata)+len(m))
		maps.Copy(merged, s.metadata)
		maps.Copy(merged, m)
		s.metadata = merged
	}
}

// NoRenew leaves renewing to the caller: the lease ends when its TTL has passed, and is
// then lost.
func NoRenew() Option { return func(s *settings) { s.noRenew = true } }

// Level sets the data-source level that [DoIsolated] starts from: fn runs one above it.
// Without it, that is the level of ctx.
func Level(n int) Option { return func(s *settings) { s.level = &n } }

// DataSource sets the data source that [DoIsolated] runs fn with. Without it, that is the
// one of ctx.
func DataSource(name string) Option { return func(s *settings) { s.source = &name } }

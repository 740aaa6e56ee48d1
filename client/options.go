package client

import (
	"maps"
	"time"
)

// DefaultTTL is the TTL of locks without the option [TTL].
const DefaultTTL = 30 * time.Second

// forever is the default and the largest time to wait: a century, so that sums with it do
// not overflow.
const forever = 100 * 365 * 24 * time.Hour

// Option configures how locks are acquired: by one call, by a client that [Client.With]
// derives, or by a client that [Dial] returns.
type Option func(*settings)

func (o Option) dial(d *dialConfig) { o(&d.settings) }

// settings is the configuration of a call. Its zero value is not valid.
type settings struct {
	store     string
	namespace string
	tenant    *string // nil: all tenants share the lock
	ttl       time.Duration
	wait      time.Duration
	metadata  map[string]string
	noRenew   bool
	holding   []string // owners that requests declare in addition to those of ctx

	level  *int    // of DoIsolated: the level to start from
	source *string // of DoIsolated: the data source
}

func (s settings) with(opts []Option) settings {
	for _, o := range opts {
		o(&s)
	}
	return s
}

// Store sets the component whose store has the locks. It is required if several
// components are open.
func Store(name string) Option { return func(s *settings) { s.store = name } }

// Namespace sets the first part of the key, "namespace:tenant:resource". It separates the
// locks of programs that share a store. It must not contain a colon; "mortise" is
// reserved.
func Namespace(name string) Option { return func(s *settings) { s.namespace = name } }

// Tenant sets the tenant that the lock belongs to; see [WithTenant]. It must not be empty
// or contain a colon.
func Tenant(name string) Option {
	return func(s *settings) { s.tenant = &name }
}

// Global makes all tenants share one lock of the resource. It overrides the tenant of ctx
// and of the client's defaults.
func Global() Option { return func(s *settings) { s.tenant = nil } }

// TTL sets how long the lock lasts without a renewal, which is how long it outlives a
// process that has died. It must be at least 1 ms.
func TTL(d time.Duration) Option { return func(s *settings) { s.ttl = d } }

// Wait sets how long to wait for the lock before [ErrLocked]; 0 or less means not to
// wait. Without it Lock waits until ctx ends. If Mortise does not respond, the call can
// take up to two seconds longer.
func Wait(d time.Duration) Option { return func(s *settings) { s.wait = min(max(d, 0), forever) } }

// Metadata adds entries that are listed with the lock, such as a host or a purpose. Their
// total size must be at most 4096 bytes.
func Metadata(m map[string]string) Option {
	return func(s *settings) {
		merged := make(map[string]string, len(s.metadata)+len(m))
		maps.Copy(merged, s.metadata)
		maps.Copy(merged, m)
		s.metadata = merged
	}
}

// NoRenew turns off the renewal: the lease is lost when its TTL has passed, unless the
// caller renews it.
func NoRenew() Option { return func(s *settings) { s.noRenew = true } }

// Level sets the data-source level that [DoIsolated] starts from; fn runs one level
// above. The default is the level of ctx.
func Level(n int) Option { return func(s *settings) { s.level = &n } }

// DataSource sets the data source that [DoIsolated] runs fn with. The default is the one
// of ctx.
func DataSource(name string) Option { return func(s *settings) { s.source = &name } }

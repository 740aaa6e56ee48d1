package redis

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/mortise-lock/mortise/stores"
)

// Config is the metadata of a component with store: redis. Its keys and their units are
// those of Dapr's built-in lock.redis, whose YAML therefore works unchanged
// (components-contrib, common/component/redis/settings.go). Zero means go-redis's own
// default.
type Config struct {
	// host or host:port; with failover the Sentinels, separated by commas
	Host     string `mapstructure:"redisHost"`
	Port     string `mapstructure:"redisPort"`
	Username string `mapstructure:"redisUsername"`
	Password string `mapstructure:"redisPassword"`
	DB       int    `mapstructure:"redisDB"`
	Type     string `mapstructure:"redisType"` // node; cluster is rejected

	Failover         bool   `mapstructure:"failover"`
	MasterName       string `mapstructure:"sentinelMasterName"`
	SentinelUsername string `mapstructure:"sentinelUsername"`
	SentinelPassword string `mapstructure:"sentinelPassword"`

	EnableTLS             bool   `mapstructure:"enableTLS"`
	InsecureSkipTLSVerify bool   `mapstructure:"insecureSkipTLSVerify"`
	ClientCert            string `mapstructure:"clientCert"` // PEM
	ClientKey             string `mapstructure:"clientKey"`  // PEM

	MaxRetries       int      `mapstructure:"redisMaxRetries"` // -1 disables
	MinRetryInterval duration `mapstructure:"redisMinRetryInterval"`
	MaxRetryInterval duration `mapstructure:"redisMaxRetryInterval"`
	DialTimeout      duration `mapstructure:"dialTimeout"`
	ReadTimeout      duration `mapstructure:"readTimeout"`
	WriteTimeout     duration `mapstructure:"writeTimeout"`
	PoolSize         int      `mapstructure:"poolSize"`
	PoolTimeout      duration `mapstructure:"poolTimeout"`
	MinIdleConns     int      `mapstructure:"minIdleConns"`
	MaxConnAge       duration `mapstructure:"maxConnAge"`
	IdleTimeout      duration `mapstructure:"idleTimeout"`

	// Older names of redisMaxRetries and, in nanoseconds, of redisMinRetryInterval.
	LegacyMaxRetries   int   `mapstructure:"maxRetries"`
	LegacyRetryBackoff int64 `mapstructure:"maxRetryBackoff"`

	UseEntraID bool `mapstructure:"useEntraID"` // rejected
	UseAzureAD bool `mapstructure:"useAzureAD"` // rejected
	UseOIDC    bool `mapstructure:"useOIDC"`    // rejected

	// Keys of lock.redis, state.redis and pubsub.redis without a meaning for locks.
	_ string `mapstructure:"idleCheckFrequency"`
	_ string `mapstructure:"redeliverInterval"`
	_ string `mapstructure:"processingTimeout"`
	_ string `mapstructure:"queueDepth"`
	_ string `mapstructure:"concurrency"`
	_ string `mapstructure:"ttlInSeconds"`
	_ string `mapstructure:"queryIndexes"`
	_ string `mapstructure:"actorStateStore"`
	_ string `mapstructure:"consumerID"`
	_ string `mapstructure:"maxLenApprox"`
	_ string `mapstructure:"streamTTL"`
}

// unsupported are the prefixes, in lower case, of keys that are rejected with a reason:
// those of Dapr's Redis components for cloud logins, and those that daprd reads in a
// state store, a pub/sub or a binding.
var unsupported = []struct {
	prefixes []string
	reason   string
}{
	{
		[]string{"useentraid", "useazuread", "entraid", "microsoftentraid", "azure", "spn", "tenantid", "clientid", "clientsecret"},
		"Entra ID is not supported; use redisUsername and redisPassword",
	},
	{[]string{"useoidc", "oidc"}, "OIDC is not supported; use redisUsername and redisPassword"},
	{
		[]string{"aws", "useaws", "useiam", "accesskey", "secretkey", "sessiontoken", "assumerole"},
		"AWS IAM is not supported; use redisUsername and redisPassword",
	},
	{
		[]string{"primaryencryptionkey", "secondaryencryptionkey"},
		"encryption is not supported: owners and metadata of locks are stored as they are; remove the key",
	},
	{[]string{"outbox"}, "belongs to a state store, which a lock store is not; remove it"},
	{
		[]string{"publishingscopes", "subscriptionscopes", "allowedtopics", "protectedtopics"},
		"belongs to a pub/sub component, which a lock store is not; remove it",
	},
	{[]string{"direction"}, "belongs to a binding, which a lock store is not; remove it"},
}

// explain returns why a metadata key is rejected, or nothing if the key is unknown.
func explain(key string) string {
	key = strings.ToLower(key)
	for _, group := range unsupported {
		for _, prefix := range group.prefixes {
			if strings.HasPrefix(key, prefix) {
				return group.reason
			}
		}
	}
	return ""
}

// duration is a duration whose bare numbers are milliseconds. Negative numbers are passed
// on, because -1 disables a timeout in go-redis.
type duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *duration) UnmarshalText(text []byte) error {
	unit := time.Millisecond
	if strings.HasPrefix(strings.TrimSpace(string(text)), "-") {
		unit = time.Nanosecond
	}
	value, err := stores.ParseDuration(string(text), unit)
	*d = duration(value)
	return err
}

const (
	defaultPort       = "6379"
	defaultMaxRetries = 3
)

// parseConfig reads the metadata. An error names the key.
func parseConfig(md map[string]string) (Config, error) {
	var c Config
	if err := stores.Decode(md, &c); err != nil {
		return Config{}, err
	}
	if c.MaxRetries == 0 {
		c.MaxRetries = c.LegacyMaxRetries
	}
	if c.MaxRetries == 0 {
		c.MaxRetries = defaultMaxRetries
	}
	if c.MinRetryInterval == 0 {
		c.MinRetryInterval = duration(c.LegacyRetryBackoff)
	}
	return c, c.check()
}

func (c Config) check() error {
	switch {
	case c.Host == "":
		return errors.New("metadata key redisHost: must not be empty")
	case strings.EqualFold(c.Type, "cluster"):
		return errors.New("metadata key redisType: Redis Cluster is not supported, because a lock could be lost when slots move")
	case c.UseEntraID || c.UseAzureAD:
		return errors.New("metadata key useEntraID: " + explain("useEntraID"))
	case c.UseOIDC:
		return errors.New("metadata key useOIDC: " + explain("useOIDC"))
	case c.Failover && c.MasterName == "":
		return errors.New("metadata key sentinelMasterName: must not be empty with failover")
	case !c.Failover && c.MasterName != "":
		return errors.New("metadata key sentinelMasterName: needs failover; set failover to true and let redisHost name the Sentinels, " +
			"or remove sentinelMasterName")
	case !c.Failover && strings.Contains(c.Host, ","):
		return errors.New("metadata key redisHost: must be one host, unless failover is true")
	case (c.ClientCert == "") != (c.ClientKey == ""):
		return errors.New("metadata keys clientCert and clientKey: must be set together")
	case c.DB < 0:
		return errors.New("metadata key redisDB: must not be negative")
	}
	return nil
}

// options returns go-redis's options.
func (c Config) options() (*goredis.UniversalOptions, error) {
	addrs, err := c.addrs()
	if err != nil {
		return nil, err
	}
	tlsConfig, err := c.tls()
	if err != nil {
		return nil, err
	}
	o := &goredis.UniversalOptions{
		Addrs:                 addrs,
		DB:                    c.DB,
		Username:              c.Username,
		Password:              c.Password,
		SentinelUsername:      c.SentinelUsername,
		SentinelPassword:      c.SentinelPassword,
		MaxRetries:            c.MaxRetries,
		MinRetryBackoff:       time.Duration(c.MinRetryInterval),
		MaxRetryBackoff:       time.Duration(c.MaxRetryInterval),
		DialTimeout:           time.Duration(c.DialTimeout),
		ReadTimeout:           time.Duration(c.ReadTimeout),
		WriteTimeout:          time.Duration(c.WriteTimeout),
		PoolSize:              c.PoolSize,
		PoolTimeout:           time.Duration(c.PoolTimeout),
		MinIdleConns:          c.MinIdleConns,
		ConnMaxLifetime:       time.Duration(c.MaxConnAge),
		ConnMaxIdleTime:       time.Duration(c.IdleTimeout),
		TLSConfig:             tlsConfig,
		DialerRetries:         1,    // the command's own retries are enough
		ContextTimeoutEnabled: true, // a caller's deadline is a command's deadline
		DisableIdentity:       true, // proxies and old servers may lack CLIENT SETINFO
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled, // a feature of one vendor's cloud
		},
	}
	if c.Failover {
		o.MasterName = c.MasterName
	}
	return o, nil
}

func (c Config) addrs() ([]string, error) {
	var addrs []string
	for host := range strings.SplitSeq(c.Host, ",") {
		addr, err := c.addr(strings.TrimSpace(host))
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// addr adds the port to a host that has none. Two different ports are an error, because
// either may be intended.
func (c Config) addr(host string) (string, error) {
	_, port, err := net.SplitHostPort(host)
	switch {
	case host == "":
		return "", errors.New("metadata key redisHost: must not have an empty host in its list")
	case err == nil && c.Port != "" && c.Port != port:
		return "", errors.New("metadata key redisPort: must be the port in redisHost, or be removed")
	case err == nil:
		return host, nil
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]") // of an IPv6 address
	return net.JoinHostPort(host, cmp.Or(c.Port, defaultPort)), nil
}

// tls ignores a certificate without enableTLS, as lock.redis does.
func (c Config) tls() (*tls.Config, error) {
	if !c.EnableTLS {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.InsecureSkipTLSVerify}
	if c.ClientCert == "" {
		return config, nil
	}
	pair, err := tls.X509KeyPair([]byte(c.ClientCert), []byte(c.ClientKey))
	if err != nil {
		return nil, fmt.Errorf("metadata keys clientCert and clientKey: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

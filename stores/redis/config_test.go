package redis

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dapr/kit/logger"

	"github.com/mortise-lock/mortise/stores"
)

func TestParseConfig_LockRedisYAML(t *testing.T) {
	t.Parallel()
	c, err := parseConfig(map[string]string{
		"redisHost": "r", "redisPort": "7000", "redisUsername": "u", "redisPassword": "p", "redisDB": "3",
		"redisType": "node", "enableTLS": "true", "insecureSkipTLSVerify": "1",
		"redisMaxRetries": "5", "redisMinRetryInterval": "20", "redisMaxRetryInterval": "1s",
		"dialTimeout": "2s", "readTimeout": "-1", "writeTimeout": "1500", "poolSize": "4", "poolTimeout": "250ms",
		"minIdleConns": "2", "maxConnAge": "30m", "idleTimeout": "5m",
		"idleCheckFrequency": "1m", "redeliverInterval": "15s", "processingTimeout": "60s", "queueDepth": "100",
		"concurrency": "10", "ttlInSeconds": "3", "queryIndexes": "x", "keyPrefix": "none",
		"actorStateStore": "true", "consumerID": "c", "maxLenApprox": "5", "streamTTL": "1h",
		"useEntraID": "false", "useAzureAD": "no", "useOIDC": "false",
	})
	if err != nil {
		t.Fatal(err)
	}
	o, err := c.options()
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []struct {
		name      string
		got, want any
	}{
		{"address", o.Addrs[0], "r:7000"},
		{"username", o.Username, "u"},
		{"password", o.Password, "p"},
		{"database", o.DB, 3},
		{"TLS without verification", o.TLSConfig.InsecureSkipVerify, true},
		{"retries", o.MaxRetries, 5},
		{"a bare number is milliseconds", o.MinRetryBackoff, 20 * time.Millisecond},
		{"a duration with a unit", o.MaxRetryBackoff, time.Second},
		{"minus one is passed on", o.ReadTimeout, time.Duration(-1)},
		{"write timeout", o.WriteTimeout, 1500 * time.Millisecond},
		{"pool size", o.PoolSize, 4},
		{"pool timeout", o.PoolTimeout, 250 * time.Millisecond},
		{"idle connections", o.MinIdleConns, 2},
		{"connection age", o.ConnMaxLifetime, 30 * time.Minute},
		{"idle time", o.ConnMaxIdleTime, 5 * time.Minute},
		{"master", o.MasterName, ""},
	} {
		if field.got != field.want {
			t.Errorf("%s: got %v, want %v", field.name, field.got, field.want)
		}
	}
}

func TestParseConfig_LegacyNames(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		md      map[string]string
		retries int
		backoff time.Duration
	}{
		{"no key", map[string]string{}, 3, 0},
		{"legacy names", map[string]string{"maxRetries": "7", "maxRetryBackoff": "2000000"}, 7, 2 * time.Millisecond},
		{"both names", map[string]string{
			"maxRetries": "7", "redisMaxRetries": "-1", "maxRetryBackoff": "5", "redisMinRetryInterval": "9",
		}, -1, 9 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.md["redisHost"] = "r"
			c, err := parseConfig(row.md)
			if err != nil {
				t.Fatal(err)
			}
			if c.MaxRetries != row.retries || time.Duration(c.MinRetryInterval) != row.backoff {
				t.Errorf("got %d and %v, want %d and %v", c.MaxRetries, c.MinRetryInterval, row.retries, row.backoff)
			}
		})
	}
}

func TestParseConfig_Sentinels(t *testing.T) {
	t.Parallel()
	c, err := parseConfig(map[string]string{
		"redisHost": "a, b:7,c", "redisType": "sentinel", "failover": "true", "sentinelMasterName": "m",
		"sentinelUsername": "su", "sentinelPassword": "sp",
	})
	if err != nil {
		t.Fatal(err)
	}
	o, err := c.options()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(o.Addrs, " "); got != "a:6379 b:7 c:6379" {
		t.Errorf("addresses %s", got)
	}
	if o.MasterName != "m" || o.SentinelUsername != "su" || o.SentinelPassword != "sp" {
		t.Errorf("got %q, %q, %q", o.MasterName, o.SentinelUsername, o.SentinelPassword)
	}
}

func TestConfig_Addr(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ host, port, want string }{
		{"r", "", "r:6379"},
		{"r", "7", "r:7"},
		{"r:7", "", "r:7"},
		{"r:7", "7", "r:7"},
		{"[::1]", "", "[::1]:6379"},
		{"[::1]", "7", "[::1]:7"},
		{"[::1]:7", "", "[::1]:7"},
		{"::1", "", "[::1]:6379"},
	} {
		if got, err := (Config{Port: row.port}).addr(row.host); err != nil || got != row.want {
			t.Errorf("host %q, port %q: %q, %v", row.host, row.port, got, err)
		}
	}
}

// TestParseConfig_CertificateWithoutTLS expects the certificate to be ignored, as
// lock.redis does.
func TestParseConfig_CertificateWithoutTLS(t *testing.T) {
	t.Parallel()
	c, err := parseConfig(map[string]string{"redisHost": "r", "clientCert": "any", "clientKey": "any"})
	if err != nil {
		t.Fatal(err)
	}
	if o, err := c.options(); err != nil || o.TLSConfig != nil {
		t.Errorf("TLS: %v, %v", o, err)
	}
}

func TestParseConfig_Errors(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, row := range []struct {
		name string
		md   map[string]string
		want string
	}{
		{"no host", map[string]string{"redisHost": ""}, "redisHost"},
		{"cluster", map[string]string{"redisType": "Cluster"}, "redisType"},
		{"Entra ID", map[string]string{"useEntraID": "true"}, "useEntraID: Entra ID is not supported; use redisUsername"},
		{"Entra ID's older name", map[string]string{"useAzureAD": "on"}, "useEntraID"},
		{"OIDC", map[string]string{"useOIDC": "true"}, "OIDC is not supported; use redisUsername and redisPassword"},
		{"a primary's name without failover", map[string]string{"sentinelMasterName": "m"}, "needs failover"},
		{"a primary's name with failover off", map[string]string{"sentinelMasterName": "m", "failover": "false"}, "needs failover"},
		{"failover without a name", map[string]string{"failover": "true"}, "sentinelMasterName"},
		{"hosts without failover", map[string]string{"redisHost": "a,b"}, "redisHost"},
		{"an empty host", map[string]string{"redisHost": "a,,b", "failover": "true", "sentinelMasterName": "m"}, "redisHost"},
		{"two ports", map[string]string{"redisHost": "a:1", "redisPort": "2"}, "redisPort"},
		{"negative database", map[string]string{"redisDB": "-1"}, "redisDB"},
		{"a database that is not a number", map[string]string{"redisDB": secret}, "redisDB"},
		{"bad duration", map[string]string{"dialTimeout": secret}, "dialTimeout"},
		{"endless duration", map[string]string{"readTimeout": "9223372036854775807"}, "readTimeout"},
		{"bad boolean", map[string]string{"enableTLS": secret}, "enableTLS"},
		{"a certificate without its key", map[string]string{"enableTLS": "true", "clientCert": secret}, "clientKey"},
		{"a key without its certificate", map[string]string{"clientKey": secret}, "clientCert"},
		{"bad certificate", map[string]string{"enableTLS": "true", "clientCert": secret, "clientKey": secret}, "clientCert"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, ok := row.md["redisHost"]; !ok {
				row.md["redisHost"] = "r"
			}
			c, err := parseConfig(row.md)
			if err == nil {
				_, err = c.options()
			}
			if err == nil {
				t.Fatal("the metadata must be rejected")
			}
			if !strings.Contains(err.Error(), "metadata key") || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%q must contain %s", err, row.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q must not contain the value", err)
			}
		})
	}
}

// TestBackend_ExplainsKeys opens components through a registry, which explains the keys.
func TestBackend_ExplainsKeys(t *testing.T) {
	t.Parallel()
	registry := stores.NewRegistry("redis")
	registry.Register("redis", Backend())
	open := func(t *testing.T, key, value string) error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // so that accepted metadata does not connect
		_, err := registry.Open(ctx, stores.Component{
			Metadata: map[string]string{"redisHost": "127.0.0.1:1", key: value}, Log: logger.NewLogger("test"),
		})
		return err
	}
	const login = "use redisUsername and redisPassword"
	for _, row := range []struct {
		reason string
		keys   []string
	}{
		{"Entra ID is not supported; " + login, []string{
			"entraID", "EntraID", "useEntraID", "useAzureAD", "azureClientID", "azureClientId", "AZURECLIENTID", "azureTenantID",
			"azureClientSecret", "azureCertificate", "azureCertificateFile", "azureCertificatePassword", "azureEnvironment",
			"azureADAuthMethods", "entraIDAuthMethods", "microsoftEntraIDAuthMethods", "spnClientId", "tenantId", "clientId",
			"clientSecret",
		}},
		{"OIDC is not supported; " + login, []string{
			"useOIDC", "oidcTokenEndpoint", "oidcClientID", "oidcClientAssertionCert", "oidcClientAssertionKey", "oidcResource",
			"oidcAudience", "oidcKid", "oidcScopes", "oidcCACert",
		}},
		{"AWS IAM is not supported; " + login, []string{"awsRegion", "useAWSIAM", "accessKey", "secretKey"}},
		{"encryption is not supported", []string{"primaryEncryptionKey", "secondaryEncryptionKey"}},
		{"belongs to a state store", []string{"outboxPublishPubsub", "outboxPublishTopic", "outboxDiscardWhenMissingState"}},
		{"belongs to a pub/sub component", []string{"publishingScopes", "subscriptionScopes", "allowedTopics", "protectedTopics"}},
		{"belongs to a binding", []string{"direction"}},
		{"nearest supported key is clientKey", []string{"clientKay"}},
	} {
		for _, key := range row.keys {
			err := open(t, key, "true")
			if err == nil || !strings.Contains(err.Error(), row.reason) || !strings.Contains(err.Error(), "metadata key") {
				t.Errorf("%s: %v", key, err)
			}
			if err := open(t, key, ""); key != "clientKay" && !errors.Is(err, context.Canceled) {
				t.Errorf("%s without a value: %v", key, err)
			}
		}
	}
}

// FuzzParseConfig looks for metadata that crashes the parser or leaks a value into an
// error.
func FuzzParseConfig(f *testing.F) {
	f.Add("redisHost", "localhost:6379", "dialTimeout", "5s")
	f.Add("redisHost", "a,b,", "failover", "yes")
	f.Add("redisDB", "secret-value", "ENABLETLS", "tru")
	f.Add("maxRetryBackoff", "-9223372036854775808", "redisPort", "0")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		c, err := parseConfig(map[string]string{k1: v1, k2: v2})
		if err != nil {
			if len(v1) > 16 && strings.Contains(err.Error(), v1) && !strings.Contains(k2, v1) {
				t.Errorf("the error must not contain a value: %q", err)
			}
			return
		}
		if _, err := c.options(); err == nil && c.Host == "" {
			t.Error("a configuration without a host must be rejected")
		}
	})
}

package redis

import (
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

func TestCheckTopology(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		info     string
		failover bool
		wantErr  string // empty if accepted
	}{
		{"a single primary", "redis_mode:standalone\r\nrole:master\r\nconnected_slaves:0\r\n", false, ""},
		{"an empty answer", "", false, ""},
		{"a primary with replicas", "role:master\r\nconnected_slaves:2\r\n", false, "replication is not supported"},
		{"a primary with replicas behind Sentinel", "role:master\r\nconnected_slaves:2\r\n", true, ""},
		{"a replica", "role:slave\r\nconnected_slaves:0\r\n", false, "is a replica"},
		{"a node of a cluster", "redis_mode:cluster\r\nrole:master\r\n", false, "Redis Cluster"},
		{"a node of a cluster, by another name", "# Cluster\r\ncluster_enabled:1\r\n", true, "Redis Cluster"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := checkTopology(parseInfo(row.info), row.failover)
			switch {
			case row.wantErr == "" && err != nil:
				t.Errorf("got %v, want nil", err)
			case row.wantErr != "" && (err == nil || !strings.Contains(err.Error(), row.wantErr)):
				t.Errorf("got %v, want %q", err, row.wantErr)
			}
		})
	}
}

func TestOpen_Topology(t *testing.T) {
	t.Parallel()
	primary := servers.StartRedis(t)
	replica := primary.StartReplicas(1)[0]
	cluster := servers.StartRedis(t, "--cluster-enabled", "yes")
	for _, row := range []struct{ name, addr, wantErr string }{
		{"a primary with a replica", primary.Addr, "replication is not supported"},
		{"a replica", replica.Addr, "is a replica"},
		{"a node of a cluster", cluster.Addr, "Redis Cluster"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := tryOpen(t.Context(), "redisHost", row.addr); err == nil || !strings.Contains(err.Error(), row.wantErr) {
				t.Errorf("got %v, want %q", err, row.wantErr)
			}
		})
	}
}

func TestFailover(t *testing.T) {
	t.Parallel()
	primary := servers.StartRedis(t)
	primary.StartReplicas(1)
	sentinel := primary.StartSentinel("locks")
	s := openStore(t, "redisHost", sentinel.Addr, "failover", "true", "sentinelMasterName", "locks")
	before := lock(t, s, "k", "o", time.Minute)
	unlock(t, s, "k", "o")
	lock(t, s, "waited for", "holder", time.Minute)
	w := startLock(t, s, request("waited for", "waiter", time.Minute), 1)
	eventually(t, "Sentinel knows the replica", func() bool {
		client := goredis.NewSentinelClient(&goredis.Options{Addr: sentinel.Addr})
		defer client.Close()
		replicas, err := client.Replicas(t.Context(), "locks").Result()
		return err == nil && len(replicas) == 1 && strings.Contains(replicas[0]["flags"], "slave") && replicas[0]["master-link-status"] == "ok"
	})
	primary.Stop()
	var after stores.Grant
	eventually(t, "a lock from the new primary", func() bool {
		g, err := s.TryLock(t.Context(), stores.Request{Key: "k2", Owner: "o", TTL: time.Minute})
		after = g
		return err == nil && g.Acquired
	})
	// This fails if the failover has lost the lock.
	_ = s.Unlock(t.Context(), "waited for", "holder")
	if token := w.granted(); token <= before {
		t.Errorf("the waiter's token is %d after the failover, %d before", token, before)
	}
	if after.Token <= before {
		t.Errorf("token %d after the failover, %d before", after.Token, before)
	}
}

func TestOpen_DatabaseUserTLS(t *testing.T) {
	t.Parallel()
	cert := servers.NewCertificate(t)
	server := servers.StartRedis(t, "--user", "app", "on", ">pw", "~*", "&*", "+@all", "--user", "default", "off",
		"--tls-cert-file", cert.File, "--tls-key-file", cert.KeyFile, "--tls-ca-cert-file", cert.File)
	login := []string{"redisHost", server.Addr, "enableTLS", "true", "redisUsername", "app", "redisPassword", "pw", "redisDB", "5",
		"clientCert", cert.PEM, "clientKey", cert.KeyPEM}
	s := openStore(t, append(login, "insecureSkipTLSVerify", "true")...)
	lock(t, s, "k", "o", time.Minute)

	client := server.Client(func(o *goredis.Options) {
		o.Username, o.Password, o.DB, o.TLSConfig = "app", "pw", 5, cert.ClientConfig()
	})
	if got := client.Get(t.Context(), "k").Val(); got != "o" {
		t.Errorf("database 5 has owner %q", got)
	}
	if _, err := tryOpen(t.Context(), login...); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of an unknown authority: %v", err)
	}
}

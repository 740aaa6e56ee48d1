package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// errSentinel means that redisHost names a Sentinel, and failover is off.
var errSentinel = permanentf("redisHost names a Sentinel: set failover to true and sentinelMasterName to the primary's name, " +
	"or let redisHost name the primary")

// checkServer reads INFO, and rejects a topology in which locks would get lost.
func (s *Store) checkServer(ctx context.Context, options *goredis.UniversalOptions) (warnings []string, err error) {
	text, err := s.client.Info(ctx).Result()
	switch {
	case err != nil && (isDenied(err) || isUnknown(err)):
		return []string{fmt.Sprintf("Redis does not answer INFO, so its topology is not checked: %v", err)}, nil
	case err != nil:
		return nil, fmt.Errorf("connect: %w", err)
	}
	info := parseInfo(text)
	if policy := info["maxmemory_policy"]; policy != "" && policy != "noeviction" {
		warnings = append(warnings,
			fmt.Sprintf("Redis has maxmemory-policy %s: when its memory runs out it drops locks that are held", policy))
	}
	return warnings, checkTopology(info, options.MasterName != "")
}

// checkTopology rejects what lock.redis rejects, and mistakes that would only show later.
func checkTopology(info map[string]string, failover bool) error {
	switch replicas := info["connected_slaves"]; {
	case info["redis_mode"] == "sentinel":
		return errSentinel
	case info["redis_mode"] == "cluster" || info["cluster_enabled"] == "1":
		return permanentf("this server is part of a Redis Cluster, which is not supported, because a lock could be lost when slots move")
	case info["role"] == "slave" && failover:
		return errors.New("the server that the Sentinels name is a replica")
	case info["role"] == "slave":
		return permanentf("this server is a replica; redisHost must name the primary, or the Sentinels with failover")
	case replicas != "" && replicas != "0" && !failover:
		return permanentf("replication is not supported without failover: this server has %s replicas, and a failover that Mortise "+
			"does not know of would lose locks; let redisHost name the Sentinels and set failover and sentinelMasterName", replicas)
	}
	return nil
}

// parseInfo reads the lines "name:value" of INFO.
func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}

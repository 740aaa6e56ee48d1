package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dapr/kit/logger"
)

// checkServer asks Redis whether it answers and what it is, and refuses a topology in which locks would get lost.
func (s *Store) checkServer(ctx context.Context, log logger.Logger, failover bool) error {
	if err := s.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	text, err := s.client.Info(ctx).Result()
	if err != nil {
		log.Warnf("Redis does not answer INFO, so its topology is not checked: %v", err)
		return nil
	}
	info := parseInfo(text)
	if policy := info["maxmemory_policy"]; policy != "" && policy != "noeviction" {
		log.Warnf("Redis has maxmemory-policy %s: when its memory runs out it drops locks that are held", policy)
	}
	return checkTopology(info, failover)
}

// checkTopology refuses what lock.redis refuses, and the two mistakes that it would only meet later.
func checkTopology(info map[string]string, failover bool) error {
	switch replicas := info["connected_slaves"]; {
	case info["redis_mode"] == "cluster" || info["cluster_enabled"] == "1":
		return errors.New("this server is part of a Redis Cluster, which is not supported, because a lock could be lost when slots move")
	case info["role"] == "slave":
		return errors.New("this server is a replica; redisHost must name the primary, or the Sentinels with failover")
	case replicas != "" && replicas != "0" && !failover:
		return fmt.Errorf("replication is not supported without failover: this server has %s replicas, and a failover that Mortise "+
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

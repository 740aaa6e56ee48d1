package main

// What a lock costs Redis itself, by its own account.

import (
	"context"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// What the sides send to Redis.
var (
	scripts       = []string{"eval", "evalsha"}
	setAndScripts = append([]string{"set"}, scripts...)
)

// inRedis is how many microseconds Redis is busy with the commands for taking a lock on
// the path and giving it back. Commands that scripts call are part of the scripts and not
// to be named.
func inRedis(p path, commands ...string) side {
	const callers = 16
	return side{p.name, func(ctx context.Context, l *lab) (sampler, error) {
		server, err := l.redis()
		if err != nil {
			return nil, err
		}
		client := goredis.NewClient(&goredis.Options{Addr: server.addr})
		l.row.add(func() { _ = client.Close() })
		do, err := p.open(ctx, l)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) ([]float64, error) {
			if err := client.ConfigResetStat(ctx).Err(); err != nil {
				return nil, err
			}
			n, _, err := drive(ctx, l.interval(), callers, do)
			if err != nil {
				return nil, err
			}
			text, err := client.Info(ctx, "commandstats").Result()
			return []float64{busy(text, commands) / float64(n)}, err
		}, nil
	}}
}

// busy is how many microseconds the commands took together.
func busy(commandStats string, commands []string) float64 {
	var all float64
	for line := range strings.Lines(commandStats) {
		for _, command := range commands {
			var calls, took float64
			_, err := fmt.Sscanf(line, "cmdstat_"+command+":calls=%f,usec=%f", &calls, &took)
			if err == nil {
				all += took
			}
		}
	}
	return all
}

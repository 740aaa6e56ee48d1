package main

// The time that Redis needs for a lock, from its own statistics.

import (
	"context"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// The commands that the sides send to Redis.
var (
	scripts       = []string{"eval", "evalsha"}
	setAndScripts = append([]string{"set"}, scripts...)
)

// redisCPU is the side that measures how many microseconds Redis executes the commands
// for locking and unlocking on the path. The time of a script includes the commands that
// it calls.
func redisCPU(p path, commands ...string) side {
	const callers = 16
	return side{p.name, func(ctx context.Context, l *env) (sampler, error) {
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
			return []float64{commandTime(text, commands) / float64(n)}, err
		}, nil
	}}
}

// commandTime returns the total time of the commands in microseconds.
func commandTime(commandStats string, commands []string) float64 {
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

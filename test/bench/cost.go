package main

// The second table: the CPU time of a call in each process.

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// cost is a row of the table: a path with a number of callers.
type cost struct {
	path    path
	key     string
	callers int

	speeds []float64            // calls per second, by round
	cpu    map[string][]float64 // microseconds per call, by role and round
}

// name returns the name that --only matches.
func (c cost) name() string { return fmt.Sprintf("cost/%s/%d", c.key, c.callers) }

// clientRole is the role of this program.
const clientRole = "client"

// costs returns the rows of the table.
func costs(o options) []cost {
	var all []cost
	add := func(key string, p path) {
		for _, callers := range []int{inflight[0], inflight[len(inflight)-1]} {
			all = append(all, cost{path: p, key: key, callers: callers, cpu: map[string][]float64{}})
		}
	}
	add("echo", bareEcho)
	add("canned", cannedLocks)
	add("memory", throughMortise("memory"))
	if o.against != "" {
		add("against", otherMortise)
	}
	add("redis", throughMortise("redis"))
	add("go-redis", directRedis)
	add("daprd-memory", throughDaprd("memory"))
	add("daprd-redis", throughDaprd("redis"))
	add("daprd-builtin", throughDaprd("builtin"))
	return all
}

// measureCosts measures each row once in every round.
func (l *env) measureCosts(ctx context.Context, costs []cost) error {
	defer l.row.close()
	pairs := make([]pair, len(costs))
	for i, c := range costs {
		fmt.Fprintln(l.log, c.name())
		do, err := c.path.open(ctx, l)
		if err == nil {
			_, _, err = drive(ctx, l.interval()/5, c.callers, do) // to warm up
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name(), err)
		}
		pairs[i] = do
	}
	for range l.rounds {
		for i := range costs {
			if err := l.measureCost(ctx, &costs[i], pairs[i]); err != nil {
				return fmt.Errorf("%s: %w", costs[i].name(), err)
			}
		}
	}
	return nil
}

func (l *env) measureCost(ctx context.Context, c *cost, do pair) error {
	before, err := l.cpuByRole()
	if err != nil {
		return err
	}
	n, took, err := drive(ctx, l.interval(), c.callers, do)
	if err != nil {
		return err
	}
	after, err := l.cpuByRole()
	calls := callsPerPair * float64(n)
	c.speeds = append(c.speeds, calls/took.Seconds())
	for role, used := range after {
		c.cpu[role] = append(c.cpu[role], float64((used-before[role]).Nanoseconds())/1e3/calls)
	}
	return err
}

// cpuByRole returns the CPU time that each process has used until now.
func (l *env) cpuByRole() (map[string]time.Duration, error) {
	used := map[string]time.Duration{clientRole: ownCPU()}
	for role, p := range l.roles {
		var err error
		if used[role], err = p.cpu(); err != nil {
			return nil, err
		}
	}
	return used, nil
}

// printCosts prints the rows in Markdown.
func printCosts(out io.Writer, costs []cost) {
	if len(costs) == 0 {
		return
	}
	var roles []string
	head := []string{"path", "callers", "calls/s", "latency µs"}
	for _, role := range []string{clientRole, "daprd", "mortise", "other", "echo", "redis"} {
		if len(costs[0].cpu[role]) > 0 {
			roles = append(roles, role)
			head = append(head, role)
		}
	}
	table := [][]string{append(head, "all")}
	for _, c := range costs {
		table = append(table, c.cells(roles))
	}
	fmt.Fprintf(out, "CPU time: microseconds of each call, by process, median of the rounds. %q is the measuring program.\n\n", clientRole)
	printMarkdown(out, table)
}

func (c cost) cells(roles []string) []string {
	speed := median(c.speeds)
	cells := []string{c.path.name, strconv.Itoa(c.callers), spread(c.speeds), short(1e6 * float64(c.callers) / speed)}
	var all float64
	for _, role := range roles {
		used := median(slices.Clone(c.cpu[role]))
		all += used
		cells = append(cells, short(used))
	}
	return append(cells, short(all))
}

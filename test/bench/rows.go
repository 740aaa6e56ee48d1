package main

// The rows: the sides that are compared, and the aims. Add rows here.

import "fmt"

// inflight are the numbers of callers with which throughput is measured.
var inflight = []int{1, 16, 64}

// rows returns the rows of the first table.
func rows(o options) []row {
	var all []row
	add := func(more ...row) { all = append(all, more...) }

	add(throughputs("memory", throughMortise("memory"), bareEcho, aims{64: ratioAtLeast(0.9)})...)
	add(throughputs("memory-wire", throughMortise("memory"), cannedLocks, nil)...)
	add(throughputs("redis", throughMortise("redis"), directRedis, nil)...)
	atAllCallers := aims{1: ratioAtLeast(0.9), 16: ratioAtLeast(0.9), 64: ratioAtLeast(0.9)}
	add(throughputs("daprd-memory", throughDaprd("memory"), throughDaprd("builtin"), atAllCallers)...)
	add(throughputs("daprd-redis", throughDaprd("redis"), throughDaprd("builtin"), atAllCallers)...)
	if o.against != "" {
		add(throughputs("against", throughMortise("memory"), otherMortise, nil)...)
	}
	for _, ours := range []locker{mortiseMemory, mortiseRedis} {
		for _, peer := range []locker{redislock, redsync, etcdMutex} {
			for _, callers := range []int{1, waiters} {
				add(row{name: fmt.Sprintf("client-%s/%s/%d", ours.key, peer.key, callers),
					a: uncontended(ours, callers), b: uncontended(peer, callers), metrics: []metric{{"", "locks/s", aim{}}}})
			}
		}
	}
	return append(all,
		row{name: "in-redis/try", a: redisCPU(throughMortise("redis"), scripts...), b: redisCPU(directRedis, setAndScripts...),
			metrics: []metric{{"lock and unlock", "µs in Redis", aim{}}}},
		row{name: "in-redis/wait", a: redisCPU(waitingMortise("redis"), scripts...), b: redisCPU(directRedis, setAndScripts...),
			metrics: []metric{{"lock and unlock", "µs in Redis", aim{}}}},
		row{name: "start", a: startTime(mortiseProgram), b: startTime(echoProgram),
			metrics: []metric{{"exec to ready", "ms", atMost(50)}}},
		row{name: "idle", a: idleMemory(mortiseProgram), b: idleMemory(echoProgram),
			metrics: []metric{{"RSS", "MB", atMost(30)}}},
		row{name: "held-memory", a: mortiseHolds, b: redisHolds, rounds: 1, metrics: []metric{
			{"RSS idle", "MB", atMost(30)},
			{"RSS at once", "MB", aim{}},
			{fmt.Sprintf("RSS after %v", o.settle), "MB", aim{}},
			{"at once", "bytes/lock", atMost(400)},
			{fmt.Sprintf("after %v", o.settle), "bytes/lock", atMost(400)},
		}},
		row{name: "held-speed", a: withHeldLocks(o.held), b: withHeldLocks(min(1000, o.held)),
			metrics: []metric{{"", "calls/s", ratioAtLeast(0.8)}}},
		row{name: "table-few", a: memoryStore(min(1000, o.held)), b: memDB(min(1000, o.held)), metrics: tableMetrics},
		row{name: "table-many", a: memoryStore(o.held), b: memDB(o.held), metrics: tableMetrics},
	)
}

// aims are aims by number of callers.
type aims map[int]aim

// throughputs returns rows that compare two paths, one for each number of callers.
func throughputs(name string, a, b path, goals aims) []row {
	var all []row
	for _, callers := range inflight {
		all = append(all, row{
			name: fmt.Sprintf("%s/%d", name, callers), a: throughput(a, callers), b: throughput(b, callers),
			metrics: []metric{{"", "calls/s", goals[callers]}},
		})
	}
	return all
}

// waitRows returns the rows of the third table.
func waitRows() []waitRow {
	var all []waitRow
	for _, processes := range []int{1, 2} {
		for _, ours := range []locker{mortiseMemory, mortiseRedis} {
			all = append(all, waitRow{locks: ours, workers: processes, ours: true})
		}
		for _, peer := range []locker{redsync, redislock, rueidislock, etcdMutex} {
			all = append(all, waitRow{locks: peer, workers: processes})
		}
	}
	return all
}

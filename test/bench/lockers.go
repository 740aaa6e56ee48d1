package main

// The locks that workers use, and the server of each.

// locker is a lock as an app uses it: through a client library.
type locker struct {
	name   string // in the tables
	key    string // in the names of rows and in a worker's flags
	server func(l *env, worker int) (addr string, err error)
}

var (
	mortiseMemory = locker{"Mortise memory", "memory", sharedMortise}
	mortiseRedis  = locker{"Mortise redis", "redis", mortisePerWorker}
	redsync       = locker{"redsync", "redsync", sharedRedis}
	redislock     = locker{"redislock", "redislock", sharedRedis}
	rueidislock   = locker{"rueidislock", "rueidislock", sharedRedis}
	etcdMutex     = locker{"etcd mutex", "etcd", sharedEtcd}
)

func sharedMortise(l *env, _ int) (string, error) { return target(l.mortise) }

// mortisePerWorker returns a Mortise for each worker, all on one Redis.
func mortisePerWorker(l *env, worker int) (string, error) {
	return target([]func() (*process, error){l.mortise, l.second}[worker])
}

func sharedRedis(l *env, _ int) (string, error) { return address(l.redis) }

func sharedEtcd(l *env, _ int) (string, error) { return address(l.etcd) }

func address(server func() (*process, error)) (string, error) {
	p, err := server()
	if err != nil {
		return "", err
	}
	return p.addr, nil
}

// target returns the gRPC target of a server on a Unix socket.
func target(server func() (*process, error)) (string, error) {
	addr, err := address(server)
	return "unix://" + addr, err
}

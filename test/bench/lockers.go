package main

// The locks that workers load, and where each has its server.

// locker is a lock as an app uses it: through a client library.
type locker struct {
	name   string // in the tables
	key    string // in the names of rows, and what a worker calls it
	server func(l *lab, worker int) (addr string, err error)
}

var (
	mortiseMemory = locker{"Mortise memory", "memory", firstMortise}
	mortiseRedis  = locker{"Mortise redis", "redis", eitherMortise}
	redsync       = locker{"redsync", "redsync", theRedis}
	redislock     = locker{"redislock", "redislock", theRedis}
	rueidislock   = locker{"rueidislock", "rueidislock", theRedis}
	etcdMutex     = locker{"etcd mutex", "etcd", theEtcd}
)

func firstMortise(l *lab, _ int) (string, error) { return target(l.mortise) }

// eitherMortise is a Mortise for each worker, on one Redis.
func eitherMortise(l *lab, worker int) (string, error) {
	return target([]func() (*process, error){l.mortise, l.second}[worker])
}

func theRedis(l *lab, _ int) (string, error) { return address(l.redis) }

func theEtcd(l *lab, _ int) (string, error) { return address(l.etcd) }

func address(server func() (*process, error)) (string, error) {
	p, err := server()
	if err != nil {
		return "", err
	}
	return p.addr, nil
}

// target is the address of a server on a Unix socket, for gRPC.
func target(server func() (*process, error)) (string, error) {
	addr, err := address(server)
	return "unix://" + addr, err
}

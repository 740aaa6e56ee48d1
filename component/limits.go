package component

import (
	"syscall"
	"time"
)

// These limits bound the connections, the memory and the time that a TCP client can take,
// even one without a token.
const (
	// keepaliveTime and keepaliveTimeout detect clients that are lost: a connection is
	// closed, and its calls end, after their sum without a sign of life. gRPC sends
	// pings; for HTTP clients TCP sends keepaliveProbes probes in the same time. Unix
	// sockets need neither, because the kernel always reports their end.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 10 * time.Second
	keepaliveProbes  = 2

	// requestTimeout bounds the time for sending a request and for reading a response,
	// but not the wait for a lock in between.
	requestTimeout = 10 * time.Second

	// idleTimeout is how long a connection without calls stays open.
	idleTimeout = 2 * time.Minute

	// maxConnections limits the connections of an endpoint. It is large because with
	// HTTP/1.1 every waiter has a connection, and the holder needs one to release the
	// lock.
	maxConnections = 1 << 14

	// reservedFileShare is the share of the process's file descriptors, a quarter, that
	// TCP leaves to the socket and the stores.
	reservedFileShare = 4

	// maxCalls limits the calls in progress on one connection. It is large because calls
	// that wait for a lock count, and the call that releases it must not queue behind
	// them.
	maxCalls = 1 << 16

	// maxHeader limits the bytes of a call's metadata or of a request's header.
	maxHeader = 64 << 10

	// maxRequest limits the bytes of a gRPC request, which is read before its token is
	// checked. The largest valid request, with the most keys, has less than a tenth of
	// it.
	maxRequest = 1 << 20

	// readBuffer is the size of gRPC's read buffer, which every connection has.
	readBuffer = 4 << 10
)

// connectionLimit returns how many connections each of the endpoints may have. Further
// connections wait until one is closed. Each endpoint has a limit of its own, so that
// clients of one cannot exhaust the others.
func connectionLimit(endpoints int) int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return maxConnections
	}
	open := uint64(files.Cur) //nolint:unconvert // it is an int64 on FreeBSD
	return connectionShare(open, uint64(endpoints))
}

// connectionShare returns an endpoint's share of the files that the process may open.
func connectionShare(files, endpoints uint64) int {
	return int(max(1, min(maxConnections, (files-files/reservedFileShare)/endpoints)))
}

// Package rtm has no code but its tests. They hold the locks of RTM channels to what is
// written about them, by whichever way a client comes in: in the service's own process,
// over gRPC, or over HTTP; and whichever store keeps the locks.
//
// What is expected stands in tables, row by row, and is never computed.
package rtm

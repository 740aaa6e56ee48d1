// Package e2e contains only tests. They run the programs that a user runs, each in its
// own process: our daprd, Mortise beside it, and a real redis-server. They call them as a
// user does, through Dapr's SDKs, over HTTP and with the Go client. And they kill and
// suspend these processes, and interrupt their connections, while workers compete for one
// lock.
//
// The programs are built before the first test: ours from this repository, and the stock
// daprd from Dapr's. MORTISE_BIN, DAPRD_BIN and STOCK_DAPRD_BIN name existing binaries to
// use instead.
package e2e

// Package e2e has no code but its tests. They run what a user runs, as processes of their
// own: our daprd, Mortise beside it, and a real redis-server; and they use it as a user
// does, through Dapr's SDKs, over HTTP and with the Go client. And they break these
// processes, and what is between them, while a crew works on one lock.
//
// The programs are built before the first test, from this repository, and the stock daprd
// from Dapr's. MORTISE_BIN, DAPRD_BIN and STOCK_DAPRD_BIN name ready ones instead.
package e2e

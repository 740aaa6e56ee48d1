// Package e2e has no code but its tests. They run what a user runs, as processes of their own: our daprd, Mortise beside
// it, and a real redis-server; and they use it as a user does, through Dapr's Go SDK and over HTTP.
//
// The programs are built from this repository before the first test. MORTISE_BIN and DAPRD_BIN name ready ones instead.
package e2e

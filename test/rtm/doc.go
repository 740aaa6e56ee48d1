// Package rtm tests channel locks in process, over gRPC and over HTTP, with the memory
// store and with Redis, against RTM's documentation and docs/apis/rtm.md.
//
// Tables list the expected results row by row; the tests do not compute them. Each
// scenario runs once with each store. With MORTISE_TEST_ALL it runs for each API with
// each store, and tests of random operations use more seeds.
package rtm

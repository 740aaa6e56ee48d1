// Package presence tracks which locks the users of channels hold, and which users are
// online. It publishes events to subscribers and sessions, and renews the locks of online
// users.
//
// Each Mortise process does this for its own streams, with one Watch for each store;
// see [Pool].
package presence

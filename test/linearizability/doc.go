// Package linearizability decides whether the results of concurrent calls to one storage
// can be explained by the contract of package stores.
//
// [Run] starts workers that make random calls, determined by a seed: several clients, few
// keys, short leases, waiting, revoking, contexts that end, and, if the harness can
// inject them, faults of the storage. Each call is recorded with its result and its
// times. [Rules.Check] then searches, with the checker porcupine, for one order of all
// calls that respects which call returned before which began, and in which a lock of the
// contract would have returned every one of these results. If no such order exists, the
// store broke the contract, and the [Violation] describes where the explanation ends.
//
// # Time
//
// Leases end by a clock that the history does not show. The history shows that each call
// took effect at some moment between its call and its return, read on the one clock of
// the process that made all calls. So the model computes not the time of an effect, but
// bounds of it:
//
//   - A lease of d, granted or renewed by a call from c to r, lasts at least until
//     c+d, and at least until the Expires that the holder received. It ends at the
//     latest at r+d, plus the rounding of d and the slack that the store declares. In
//     between, either may be true. A call that took effect later in the order and
//     returned at r' shows that the grant was not after r' either, so r'+d bounds the
//     end as well.
//   - A result "held" can only be right if its call began before the latest end of the
//     lease; a result "free" only if its call returned after the earliest end. A
//     result "free" frees the lock for all calls that come later in the order, so a
//     lock that was seen to be free is not held again without a grant, and no later
//     call in the order can have taken effect before the end of the lease.
//
// The bounds enclose the effect however slow the machine is, whichever goroutine or
// server is stalled, and for how long. A stall makes the intervals wider and the check
// weaker, never wrong. The check relies on three things: the storage's clock and ours run
// at the same pace to within the slack for the length of a history, which is well under a
// minute; a storage decides and reads the time in one order; and calls are ordered by a
// counter of their own and not by the clock, which may be too coarse and in a synctest
// bubble stands still.
//
// # Unknown effects
//
// A call that failed may have had its effect, may not, or may have it later, for as long
// as its request can be in transit ([Rules.RequestDelay]): the model allows each.
//
// A Lock whose context ended does not hold the lock when it returns, but it may have held
// it for a moment before: the store releases a grant that came too late. Other calls may
// have seen it held then. So a result that names this owner as the holder is right if it
// overlaps the Lock and the lock may otherwise be free; the lock then counts as free
// again, because it may be. The same is true for a little longer if the release could not
// reach the storage ([Rules.Linger]), and with a store that hands a lock over before the
// waiter is notified ([Rules.Handover]).
//
// A store that retries requests whose replies were lost ([Rules.Retries]) may carry out
// one call more than once: an Unlock that succeeded returns ErrNotHeld, a TryLock
// acquired the lock, lost it and acquired it again. While such a call lasts, its owner
// may hold the lock briefly, or its lock may end, as above.
//
// TryLock is refused while others wait, also in the moment when the lock is free. A
// refusal that overlaps a Lock for one of its keys therefore proves nothing. So that
// refusals are checked too, some histories have no waiting.
//
// # Running
//
// Each test makes 3 of 10 histories; with MORTISE_TEST_ALL=1 it makes all.
// MORTISE_HISTORY_SEEDS sets the number. Run -run 'TestName/seed_17$' to repeat a history
// that failed, and add -artifacts to draw it; only a bubble repeats the times as well.
//
// # Not checked
//
// Package conformance checks what this package does not: that waiters are granted the
// lock in order and in time, that refused calls return soon, and all that one client
// alone can observe.
package linearizability

// Package linearizability decides whether what the clients of one storage were told,
// while they raced for its locks, can be explained by the contract of package stores.
//
// [Run] lets workers call a store at random, by seed: several clients, few keys, short
// leases, waiting, revoking, contexts that end, and, if the harness can make it, trouble
// with the storage. Each call is recorded with what it was told and when. [Rules.Check]
// then looks, with the checker porcupine, for one order of all calls that respects which
// call had returned before which began, and in which a lock of the contract would have
// given every one of these answers. If there is no such order, the store broke the
// contract, and the [Violation] tells where the explanation ends.
//
// # Time
//
// Leases end by a clock that the history does not show. What it shows is that each call
// took effect at some moment between its call and its return, read on the one clock of
// the process that made all calls. So the model never asks what time it is, only what may
// have been:
//
//   - A lease of d, granted or renewed by a call from c to r, surely lasts until c+d, and until the Expires that the
//     holder was told if that is later. It surely is over at r+d, plus the rounding of d and the slack that the store
//     declares. In between either is true. A call that took effect later in the order and returned at r' shows that the
//     grant was not after r' either, so r'+d bounds the end as well.
//   - An answer that says "held" can only be right if its call began before the lease surely was over; one that says
//     "free" only if it returned when the lease did no longer surely last. An answer that says "free" frees the lock for
//     all that come later in the order, so a lock that was seen to be over does not come back, and nothing later in the
//     order can have been before the end of the lease.
//
// Bounds are taken from the outside: the moments lie around the effect however slow the
// machine is, whichever goroutine or server is stalled, and for how long. A stall makes
// the intervals wider and the check weaker, never wrong. It rests on three things: the
// storage's clock and ours run at the same pace to within the slack for the length of a
// history, which is well under a minute; a storage decides and takes the time in one
// order; and calls are ordered by a counter of their own and not by the clock, which may
// be too coarse and in a synctest bubble stands still.
//
// # What is not known
//
// A call that failed may have had its effect, may not, or may have it later, as long as
// its request can be on its way ([Rules.Late]): the model allows each.
//
// A Lock whose context ended does not hold when it returns; but it may have held, untold,
// for a moment before: "a grant that came too late has been given back". Others may have
// met it then. So an answer that names it as the holder is right if it overlaps the Lock
// and the lock may otherwise be free; the lock then counts as free again, because it may
// be. The same holds for a little longer if the storage could not be asked to end it
// ([Rules.Linger]), and with a store that hands a lock over before the waiter knows
// ([Rules.Handover]).
//
// A store that repeats requests whose answers were lost ([Rules.Repeats]) may carry one
// call out more than once: an Unlock that succeeded says ErrNotHeld, a TryLock has taken
// the lock, lost it and taken it again. While such a call lasts its owner may hold in
// passing, or its lock may end, as above.
//
// TryLock is refused while others wait, also in the moment when the lock is free. A
// refusal that overlaps a Lock for one of its keys therefore says nothing. So that
// refusals are checked too, some histories have no waiting.
//
// # Running
//
// MORTISE_HISTORY_SEEDS is how many histories each test makes instead of its own number.
// A history that failed is made again by -run 'TestName/seed_17$', and drawn with
// -artifacts; only a bubble repeats the times as well.
//
// # What is not checked here
//
// That waiters are served in order and in time, that refused calls return soon, and all
// that one client alone can see, have rows in package conformance.
package linearizability

-- In milliseconds: claim_ms is how long a lock that was handed over waits for its claim,
-- the next is how long a process counts as alive after its last heartbeat, and the last
-- is how long the data of waiters is kept after its last refresh. The second must not
-- exceed the first: when all waiting processes have stopped, a lock is handed over to
-- only one of them before the others are skipped.
local claim_ms, alive_ms, kept_ms = 850, 850, 5000

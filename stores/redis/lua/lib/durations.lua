-- Milliseconds: how long a lock that was handed over waits for its claim, how long a
-- process counts as alive after its last heartbeat, and how long the data of waiters is
-- kept after its last refresh. The second is at most the first, so that when all waiting
-- processes have stopped, a lock is handed to only one of them before the rest are
-- skipped.
local claim_ms, alive_ms, kept_ms = 850, 850, 5000

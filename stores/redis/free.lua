-- Ends the lock, and hands it to the next who waits. If the owner only waits for it by a
-- request with a group, that is ended. Returns 0, or -1 if the lock is free, or -2 if
-- another owner holds it, or -10 if the key holds data that is not a lock; and then, for
-- each lock that went to a waiter of the process itself, its id, the token and the TTL in
-- milliseconds.
-- KEYS: 1 the lock
-- ARGV: after who runs it, 4 owner, 5 RELEASED or REVOKED, 6 for the latter the request's
-- id; without an owner the present holder loses the lock, and no later holder does if the
-- request is sent again because its answer was lost
local key, record, waiting = KEYS[1], 'mortise:lock:' .. KEYS[1], 'mortise:waiting:' .. KEYS[1]
local owner = redis.pcall('GET', key)
-- The usual case: there is a record, which counts for four, and nobody waits or watches.
if owner == ARGV[4]
    and redis.call('EXISTS', record, record, record, record, 'mortise:queue:' .. key, 'mortise:watched', waiting) == 4 then
    redis.call('DEL', key, record)
    return { 0 }
end

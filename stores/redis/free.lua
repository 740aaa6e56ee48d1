-- Ends the lock, and hands it to the next who waits. If the owner only waits for it by a request with a group, that is ended.
-- Returns 0, or -1 if nobody holds it, or -2 if somebody else does; and then, for each lock that went to a waiter of the process
-- itself, his id, the token and the TTL in milliseconds.
-- KEYS: 1 the lock
-- ARGV: after who runs it, 4 owner, 5 RELEASED or REVOKED; without an owner whoever holds the lock is revoked
local key, waiting = KEYS[1], 'mortise:waiting:' .. KEYS[1]
local owner = redis.call('GET', key)
local holds = owner and (owner == ARGV[4] or ARGV[4] == '' and ARGV[5] == 'REVOKED')
if holds and redis.call('EXISTS', 'mortise:queue:' .. key, 'mortise:watched', waiting) == 0 then
    redis.call('DEL', key, 'mortise:lock:' .. key)
    return { 0 }
end
local waits = ARGV[5] == 'RELEASED' and redis.call('HGET', waiting, ARGV[4])
if not holds and not waits then return { owner and -2 or -1 } end

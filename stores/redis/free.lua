-- Ends the lock, and hands it to the next who waits. Returns 0, or -1 if nobody holds it, or -2 if somebody else does; and then,
-- for each lock that went to a waiter of the process itself, his id and the token.
-- KEYS: 1 the lock
-- ARGV: after who runs it, 4 owner, 5 RELEASED or REVOKED; without an owner whoever holds the lock is revoked
local key = KEYS[1]
local owner = redis.call('GET', key)
if not owner then return { -1 } end
if owner ~= ARGV[4] and not (ARGV[4] == '' and ARGV[5] == 'REVOKED') then return { -2 } end
if redis.call('EXISTS', 'mortise:queue:' .. key, 'mortise:watched') == 0 then
    redis.call('DEL', key, 'mortise:lock:' .. key)
    return { 0 }
end

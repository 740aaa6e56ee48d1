-- Takes the lock if it is free and has no waiters. Returns its fencing token, or 0, or
-- -10 if the key holds data that is not a lock.
-- KEYS: 1 the lock
-- ARGV: after who runs it, 4 owner, 5 TTL in milliseconds, 6 the request's id, 7 metadata
local key, queue = KEYS[1], 'mortise:queue:' .. KEYS[1]
if redis.call('EXISTS', key, queue, 'mortise:watched') == 0 then
    return tonumber(write(KEYS, ARGV[4], ARGV[5], ARGV[5], ARGV[6], ARGV[7]))
end

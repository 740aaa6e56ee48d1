-- Acquires the lock if it is free and has no waiters. Returns its fencing token, 0 if the
-- lock is not available, or -10 if the key holds data that is not a lock. A request that
-- is repeated because its answer was lost returns its own grant.
-- KEYS: 1 the lock
-- ARGV: after those of lib/caller, 4 owner, 5 TTL in milliseconds, 6 the request's id,
-- 7 metadata

-- include write

local key, queue = KEYS[1], 'mortise:queue:' .. KEYS[1]
if redis.call('EXISTS', key, queue, 'mortise:watched') == 0 then -- the usual case
    return tonumber(write_locks(KEYS, ARGV[4], ARGV[5], ARGV[5], ARGV[6], ARGV[7]))
end

-- include data
-- include queue

local value, record = redis.pcall('GET', key), redis.call('HMGET', 'mortise:lock:' .. key, 'request', 'token')
if is_data(key, value) then return -10 end
if value and record[1] == ARGV[6] then return tonumber(record[2]) end
grant_next({ key }) -- only dead waiters may be queued
if redis.call('EXISTS', key, queue) > 0 then return 0 end
return tonumber(grant(KEYS, ARGV[4], ARGV[5], ARGV[5], ARGV[6], ARGV[7]))

-- Withdraws a declared lock: ends its holder's lock, cancels the waits of requests with a
-- group, and grants it to the next waiter. Returns 0, -5 if the group has no such lock,
-- or -10 if the key holds data that is not known to be a lock; and then what unlock.lua
-- returns.
-- KEYS: 1 the lock
-- ARGV: after those of lib/caller, 4 group

-- include events
-- include queue
-- include cancel
-- include data
-- include managed

local key, group, waiting = KEYS[1], 'mortise:group:' .. ARGV[4], 'mortise:waiting:' .. KEYS[1]
local owner = redis.pcall('GET', key)
if is_data(key, owner) or owner and not is_managed(key, owner) then return { -10 } end
local ttl = string.match(redis.call('HGET', group, key) or '', '^%d+ (%d+)')
if not ttl then return { -5 } end
redis.call('HDEL', group, key)
if redis.call('EXISTS', group) == 0 then redis.call('SREM', 'mortise:groups', ARGV[4]) end
local ids = redis.call('HVALS', waiting)
redis.call('DEL', waiting)
for _, id in ipairs(ids) do cancel_wait(id, key, -5) end
delete_lock(key, 'WITHDRAWN', ttl)
local answer = { 0 }
grant_next({ key }, answer)
return answer

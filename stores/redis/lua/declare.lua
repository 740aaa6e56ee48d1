-- Declares a lock. Returns 0, -8 if the group has the lock already, -9 if the group is
-- full, or -10 if the key holds data that is not a lock. A request that is repeated
-- because its answer was lost finds its own declaration and returns 0.
-- KEYS: 1 the lock
-- ARGV: after those of lib/caller, 4 group, 5 TTL in milliseconds, 6 how many locks the
-- group may have, or 0, 7 the request's id

-- include number
-- include events
-- include data

local key, group, ttl, limit, request = KEYS[1], 'mortise:group:' .. ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]
local declared_by = string.match(redis.call('HGET', group, key) or '', '^%d+ %d+ (.*)$')
if declared_by == request then return 0 end
if is_data(key, redis.pcall('GET', key)) then return -10 end
if declared_by then return -8 end
if limit > 0 and redis.call('HLEN', group) >= limit then return -9 end
local number = next_number()
redis.call('HSET', group, key, number .. ' ' .. ttl .. ' ' .. request)
redis.call('SADD', 'mortise:groups', ARGV[4])
if is_watched() then publish('DECLARED', number, key, ttl) end
return 0

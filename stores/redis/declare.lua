-- Lets a lock exist. Returns 0, or -8 if the group has it already, or -9 if the group is
-- full, or -10 if the key holds data that is not a lock. A request sent again because its
-- answer was lost finds its own declaration.
-- KEYS: 1 the lock
-- ARGV: after who runs it, 4 group, 5 TTL in milliseconds, 6 how many locks the group may
-- have, or 0, 7 the request's id
local key, group, ttl, limit, request = KEYS[1], 'mortise:group:' .. ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]
local known = string.match(redis.call('HGET', group, key) or '', '^%d+ %d+ (.*)$')
if known == request then return 0 end
if isdata(key, redis.pcall('GET', key)) then return -10 end
if known then return -8 end
if limit > 0 and redis.call('HLEN', group) >= limit then return -9 end
local number = draw()
redis.call('HSET', group, key, number .. ' ' .. ttl .. ' ' .. request)
redis.call('SADD', 'mortise:groups', ARGV[4])
if watched() then tell('DECLARED', number, key, ttl) end
return 0

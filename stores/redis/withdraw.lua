-- Ends a lock's existence, and the hold of whoever has it, and the requests with a group
-- that wait for it. Others who wait are served. Returns 0, or -5 if the group has no such
-- lock, or -10 if the key holds data that is not known to be a lock; and then what
-- free.lua returns.
-- KEYS: 1 the lock
-- ARGV: after who runs it, 4 group
local key, group, waiting = KEYS[1], 'mortise:group:' .. ARGV[4], 'mortise:waiting:' .. KEYS[1]
local owner = redis.pcall('GET', key)
if isdata(key, owner) or owner and not known(key, owner) then return { -10 } end
local ttl = string.match(redis.call('HGET', group, key) or '', '^%d+ (%d+)')
if not ttl then return { -5 } end
redis.call('HDEL', group, key)
if redis.call('EXISTS', group) == 0 then redis.call('SREM', 'mortise:groups', ARGV[4]) end
local ids = redis.call('HVALS', waiting)
redis.call('DEL', waiting)
for _, id in ipairs(ids) do dismiss(id, key, -5) end
free(key, 'WITHDRAWN', ttl)
local answer = { 0 }
serve({ key }, answer)
return answer

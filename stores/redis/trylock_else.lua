
-- A request sent again because its answer was lost finds its own grant.
local record = redis.call('HMGET', 'mortise:lock:' .. key, 'request', 'token')
if record[1] == ARGV[6] and redis.call('EXISTS', key) == 1 then return tonumber(record[2]) end
serve({ key }) -- a dead waiter may be all that is in the way
if redis.call('EXISTS', key, queue) > 0 then return 0 end
return tonumber(grant(KEYS, ARGV[4], ARGV[5], ARGV[5], ARGV[6], ARGV[7]))

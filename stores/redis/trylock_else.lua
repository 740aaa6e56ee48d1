
-- A request sent again because its answer was lost finds its own grant.
local value, record = redis.pcall('GET', key), redis.call('HMGET', 'mortise:lock:' .. key, 'request', 'token')
if isdata(key, value) then return -10 end
if value and record[1] == ARGV[6] then return tonumber(record[2]) end
serve({ key }) -- a dead waiter may be all that is in the way
if redis.call('EXISTS', key, queue) > 0 then return 0 end
return tonumber(grant(KEYS, ARGV[4], ARGV[5], ARGV[5], ARGV[6], ARGV[7]))

-- Takes the lock if nobody holds it. Returns its fencing token, or 0 if it is held.
-- KEYS: 1 the lock, 2 its record, 3 the last token given in this database
-- ARGV: 1 owner, 2 TTL in milliseconds, 3 the request's id, 4 the last token the caller has seen
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
    -- A request sent again because its answer was lost finds its own grant.
    if redis.call('HGET', KEYS[2], 'request') == ARGV[3] then
        return tonumber(redis.call('HGET', KEYS[2], 'token'))
    end
    return 0
end

-- Tokens follow the clock, so they grow although a Redis that comes back empty has forgotten the last one.
local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('GET', KEYS[3]) or 0)
local token = math.max(clock, last + 1, ARGV[4] + 1)
local text = string.format('%.0f', token)
redis.call('SET', KEYS[3], text)
redis.call('HSET', KEYS[2], 'owner', ARGV[1], 'token', text, 'ttl', ARGV[2], 'request', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return token

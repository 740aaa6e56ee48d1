-- Lets the lock last from now. Returns its fencing token, 0 if it has none because a foreign program took it, -1 if nobody
-- holds it, or -2 if somebody else does.
-- KEYS: 1 the lock, 2 its record
-- ARGV: 1 owner, 2 TTL in milliseconds
local owner = redis.call('GET', KEYS[1])
if not owner or not held(KEYS[1], owner) then return -1 end
if owner ~= ARGV[1] then return -2 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local record = redis.call('HMGET', KEYS[2], 'owner', 'token')
if record[1] ~= owner then return 0 end
redis.call('HSET', KEYS[2], 'ttl', ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return tonumber(record[2])

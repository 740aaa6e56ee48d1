-- Extends the lock by its TTL from now. Returns its fencing token, 0 if it has none
-- because another program acquired it, -1 if the lock is free, -2 if another owner holds
-- it, or -10 if the key holds data that is not a lock.
-- KEYS: 1 the lock, 2 its record
-- ARGV: 1 owner, 2 TTL in milliseconds

-- include data

local owner, record = redis.pcall('GET', KEYS[1]), redis.call('HMGET', KEYS[2], 'owner', 'token')
local recorded = owner and owner == record[1]
if not recorded and is_data(KEYS[1], owner) then return -10 end
if not owner then return -1 end
if owner ~= ARGV[1] then return -2 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if not recorded then return 0 end
redis.call('HSET', KEYS[2], 'ttl', ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return tonumber(record[2])

-- Gives the lock back. Returns 0, or -1 if nobody holds it, or -2 if somebody else does.
-- KEYS: 1 the lock, 2 its record
-- ARGV: 1 owner
local owner = redis.call('GET', KEYS[1])
if not owner then return -1 end
if owner ~= ARGV[1] then return -2 end
redis.call('DEL', KEYS[1], KEYS[2])
return 0

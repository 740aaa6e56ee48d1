-- Writes the value, unless a larger token has written. Returns whether it did: 1 or 0.
-- KEYS: 1 a hash with the fields value and token
-- ARGV: 1 the value, 2 the fencing token
if tonumber(redis.call('HGET', KEYS[1], 'token') or 1) > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'value', ARGV[1], 'token', ARGV[2])
return 1

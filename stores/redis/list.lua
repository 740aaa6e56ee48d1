-- Describes string keys that may be locks. Returns five values for each: key, owner, time left in milliseconds, and of its
-- record, if that is the present owner's, the token and the TTL in milliseconds; else empty strings.
-- KEYS: for each lock, the lock and its record
local rows = {}
for i = 1, #KEYS, 2 do
    local owner = redis.pcall('GET', KEYS[i])
    if type(owner) == 'string' then
        local record = redis.call('HMGET', KEYS[i + 1], 'owner', 'token', 'ttl')
        local known = record[1] == owner
        rows[#rows + 1] = KEYS[i]
        rows[#rows + 1] = owner
        rows[#rows + 1] = tostring(redis.call('PTTL', KEYS[i]))
        rows[#rows + 1] = known and record[2] or ''
        rows[#rows + 1] = known and record[3] or ''
    end
end
return rows

-- Describes string keys that may be locks. Returns seven values for each: key, owner, time left in milliseconds, number of
-- waiters, and of its record, if that is the present owner's, the token, the TTL in milliseconds and the metadata; else empty
-- strings.
-- KEYS: the locks
local rows = {}
for _, key in ipairs(KEYS) do
    local owner = redis.pcall('GET', key)
    if type(owner) == 'string' then
        local record = redis.call('HMGET', 'mortise:lock:' .. key, 'owner', 'token', 'ttl', 'metadata')
        if record[1] ~= owner then record = {} end
        rows[#rows + 1] = key
        rows[#rows + 1] = owner
        rows[#rows + 1] = tostring(redis.call('PTTL', key))
        rows[#rows + 1] = tostring(redis.call('ZCARD', 'mortise:queue:' .. key))
        rows[#rows + 1] = record[2] or ''
        rows[#rows + 1] = record[3] or ''
        rows[#rows + 1] = record[4] or ''
    end
end
return rows

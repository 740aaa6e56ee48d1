-- Describes a lock by seven values: key, owner, time left in milliseconds, number of waiters, and of its record, if that is the
-- present owner's, the token, the TTL in milliseconds and the metadata; else empty strings. Returns nil if there is no such
-- string.
local function describe(key)
    local owner = redis.pcall('GET', key)
    if type(owner) ~= 'string' then return nil end
    local left = redis.call('PTTL', key)
    if left == 0 then left = 1 end -- it is there still
    local record = redis.call('HMGET', 'mortise:lock:' .. key, 'owner', 'token', 'ttl', 'metadata')
    if record[1] ~= owner then record = {} end
    return { key, owner, tostring(left), tostring(redis.call('ZCARD', 'mortise:queue:' .. key)),
        record[2] or '', record[3] or '', record[4] or '' }
end


-- Describes a lock by eight values: key, owner, time left in milliseconds, number of waiters, and of its record, if that is the
-- present owner's, the token, the TTL in milliseconds; then the TTL that it was declared with, if that is given; and the record's
-- metadata. What there is not is an empty string. Returns nil if there is no such string and no declaration.
local function describe(key, declared)
    local owner, left, record = redis.pcall('GET', key), 0, {}
    if type(owner) == 'string' then
        left = redis.call('PTTL', key)
        if left == 0 then left = 1 end -- it is there still
        record = redis.call('HMGET', 'mortise:lock:' .. key, 'owner', 'token', 'ttl', 'metadata')
        if record[1] ~= owner then record = {} end
    elseif declared then
        owner = ''
    else
        return nil
    end
    return { key, owner, tostring(left), tostring(redis.call('ZCARD', 'mortise:queue:' .. key)),
        record[2] or '', record[3] or '', declared or '', record[4] or '' }
end


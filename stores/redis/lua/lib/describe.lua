-- Describes a lock by eight values: key, owner, remaining milliseconds, number of
-- waiters; token and TTL in milliseconds of its record, if the record is the current
-- owner's; the TTL that it was declared with, if given; and the record's metadata. A
-- missing value is an empty string. Returns nil if the key holds no string and declared
-- is nil. A key that the user may not read is described by its record alone.
local function describe(key, declared)
    local name = 'mortise:lock:' .. key
    local owner, left, record = redis.pcall('GET', key), 0, redis.call('HMGET', name, 'owner', 'token', 'ttl', 'metadata')
    if type(owner) == 'string' then
        left = redis.call('PTTL', key)
    elseif owner and not string.find(owner.err, 'WRONGTYPE', 1, true) then
        -- Redis denied the read. Its error texts differ by version, so any error but
        -- WRONGTYPE counts as denial.
        owner, left = record[1], -1
    end
    if type(owner) == 'string' then
        if record[1] ~= owner then
            record = {}
        elseif left < 0 then
            -- The expiry was removed or cannot be read: the lock ends with its record.
            left = redis.call('PTTL', name)
            if left < 0 then left = record[3] end
        end
        if left == 0 then left = 1 end -- less than a millisecond remains
    elseif declared then
        owner, record = '', {}
    else
        return nil
    end
    return { key, owner, tostring(left), tostring(redis.call('ZCARD', 'mortise:queue:' .. key)),
        record[2] or '', record[3] or '', declared or '', record[4] or '' }
end

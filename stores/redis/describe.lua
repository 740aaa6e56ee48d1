-- Describes a lock by eight values: key, owner, time left in milliseconds, number of
-- waiters, and of its record, if that is the present owner's, the token, the TTL in
-- milliseconds; then the TTL that it was declared with, if that is given; and the
-- record's metadata. A value that is missing is an empty string. Returns nil if there is
-- no such string and no declaration. A key that the user may not read is described by its
-- record alone.
local function describe(key, declared)
    local name = 'mortise:lock:' .. key
    local owner, left, record = redis.pcall('GET', key), 0, redis.call('HMGET', name, 'owner', 'token', 'ttl', 'metadata')
    if type(owner) == 'string' then
        left = redis.call('PTTL', key)
    elseif owner and not string.find(owner.err, 'WRONGTYPE', 1, true) then -- Redis words a refusal in several ways
        owner, left = record[1], -1
    end
    if type(owner) == 'string' then
        if record[1] ~= owner then
            record = {}
        elseif left < 0 then -- the expiry was removed, or is hidden: the lock ends with its record
            left = redis.call('PTTL', name)
            if left < 0 then left = record[3] end
        end
        if left == 0 then left = 1 end -- it is there still
    elseif declared then
        owner, record = '', {}
    else
        return nil
    end
    return { key, owner, tostring(left), tostring(redis.call('ZCARD', 'mortise:queue:' .. key)),
        record[2] or '', record[3] or '', declared or '', record[4] or '' }
end


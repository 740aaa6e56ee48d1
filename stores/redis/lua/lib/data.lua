-- Reports whether a key holds data that is not a lock; value is what GET returned for
-- it. A lock is a string that expires, whichever program wrote it, or a string that the
-- key's record names as the owner.
local function is_data(key, value)
    if type(value) == 'table' then -- GET failed
        -- Any error other than WRONGTYPE ends the script: a second GET raises it.
        if not string.find(value.err, 'WRONGTYPE', 1, true) then redis.call('GET', key) end
        return true
    end
    return value and redis.call('PTTL', key) < 0 and redis.call('HGET', 'mortise:lock:' .. key, 'owner') ~= value
end

-- Reports whether a key, whose value GET returned, holds data that is not a lock. A lock
-- is a string that expires, as every program writes its locks, or a string that the
-- record names as the owner.
local function isdata(key, value)
    if type(value) == 'table' then -- GET failed
        if not string.find(value.err, 'WRONGTYPE', 1, true) then redis.call('GET', key) end -- which raises the error
        return true
    end
    return value and redis.call('PTTL', key) < 0 and redis.call('HGET', 'mortise:lock:' .. key, 'owner') ~= value
end

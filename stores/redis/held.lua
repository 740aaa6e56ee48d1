-- Tells whether a string is a lock that somebody holds, as isHeld does: Mortise took it, or it is one that daprd makes and it
-- expires. Other strings are somebody's data.
local function held(key, owner)
    return redis.call('HGET', 'mortise:lock:' .. key, 'owner') == owner
        or string.sub(key, 1, 6) == 'lock||' and redis.call('PTTL', key) >= 0
end


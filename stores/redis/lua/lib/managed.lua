-- Reports whether Mortise or daprd acquired the owner's lock. Any other string that
-- expires may be a lock of another program or a value that the program caches, so it is
-- deleted only for a caller that names the value.
local function is_managed(key, owner)
    return string.sub(key, 1, 6) == 'lock||' or redis.call('HGET', 'mortise:lock:' .. key, 'owner') == owner
end

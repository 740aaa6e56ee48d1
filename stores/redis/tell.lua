-- Packs values into one text: of each the length, a colon and itself.
local function pack(values)
    local parts = {}
    for i, value in ipairs(values) do parts[i] = #value .. ':' .. value end
    return table.concat(parts)
end

-- Tells the watchers, if there are any. What is told comes from the lock's record; a foreign program's lock has none.
local function tell(kind, revision, key, owner)
    local record = redis.call('HMGET', 'mortise:lock:' .. key, 'owner', 'token', 'ttl', 'metadata')
    if record[1] ~= owner then record = {} end
    redis.pcall('PUBLISH', events, pack({ kind, revision, key, owner, record[2] or '', record[3] or '', record[4] or '',
        tostring(redis.call('PTTL', key)) }))
end

local function watched() return redis.call('EXISTS', 'mortise:watched') == 1 end

-- Gives free locks to an owner as write does, and tells the watchers.
local function grant(keys, owner, ttl, last, request, metadata)
    local token = write(keys, owner, ttl, last, request, metadata)
    if watched() then
        for _, key in ipairs(keys) do tell('ACQUIRED', token, key, owner) end
    end
    return token
end

-- Ends a lock that its owner holds.
local function free(key, owner, kind)
    if watched() then tell(kind, draw(), key, owner) end
    redis.call('DEL', key, 'mortise:lock:' .. key)
end

-- Tells the watchers about a lock that is held, or about one with the TTL that it was
-- declared with. Where we may not publish, nobody can have subscribed.
local function tell(kind, revision, key, declared)
    redis.pcall('PUBLISH', events, pack({ kind, revision, unpack(describe(key, declared)) }))
end

local function watched() return redis.call('EXISTS', 'mortise:watched') == 1 end

-- Gives free locks to an owner as write does, and tells the watchers.
local function grant(keys, owner, ttl, last, request, metadata)
    local token = write(keys, owner, ttl, last, request, metadata)
    if watched() then
        for _, key in ipairs(keys) do tell('ACQUIRED', token, key) end
    end
    return token
end

-- Ends a lock that its owner holds, or that was declared.
local function free(key, kind, declared)
    if watched() then tell(kind, draw(), key, declared) end
    redis.call('DEL', key, 'mortise:lock:' .. key)
end

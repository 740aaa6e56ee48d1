-- include caller
-- include number
-- include write
-- include pack
-- include describe

-- Publishes an event about a lock that is held, or about one that is declared with a
-- TTL. An error is ignored: a user that may not publish may not subscribe either.
local function publish(kind, revision, key, declared)
    redis.pcall('PUBLISH', events, pack({ kind, revision, unpack(describe(key, declared)) }))
end

local function is_watched() return redis.call('EXISTS', 'mortise:watched') == 1 end

-- Grants free locks as write_locks does, and publishes that.
local function grant(keys, owner, ttl, expiry, request, metadata)
    local token = write_locks(keys, owner, ttl, expiry, request, metadata)
    if is_watched() then
        for _, key in ipairs(keys) do publish('ACQUIRED', token, key) end
    end
    return token
end

-- Deletes a lock that is held or that was declared, and publishes an event of this kind.
local function delete_lock(key, kind, declared)
    if is_watched() then publish(kind, next_number(), key, declared) end
    redis.call('DEL', key, 'mortise:lock:' .. key)
end

-- include number

-- Grants free locks to an owner with one token. They expire after expiry milliseconds;
-- ttl is the TTL that the record keeps. No event is published.
local function write_locks(keys, owner, ttl, expiry, request, metadata)
    local token = next_number()
    for _, key in ipairs(keys) do
        local record = 'mortise:lock:' .. key
        redis.call('SET', key, owner, 'PX', expiry)
        redis.call('HSET', record, 'owner', owner, 'token', token, 'ttl', ttl, 'request', request, 'metadata', metadata)
        redis.call('PEXPIRE', record, expiry)
    end
    return token
end

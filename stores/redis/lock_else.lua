
-- Returns in how many milliseconds the first of the locks expires, or -1.
local function expiry()
    local first = -1
    for _, key in ipairs(KEYS) do
        local left = redis.call('PTTL', key)
        if left >= 0 and (first < 0 or left < first) then first = left end
    end
    return first
end

-- Counts the locks that are held and the queues in which somebody waits.
local function busy()
    local n = 0
    for _, key in ipairs(KEYS) do n = n + redis.call('EXISTS', key, 'mortise:queue:' .. key) end
    return n
end

-- Reports whether one of the keys holds data that is not a lock.
local function occupied()
    for _, key in ipairs(KEYS) do
        if isdata(key, redis.pcall('GET', key)) then return true end
    end
    return false
end

-- Gives back what is left of locks of which one was revoked before the claim.
local function relinquish()
    for _, key in ipairs(KEYS) do
        if redis.call('HGET', 'mortise:lock:' .. key, 'request') == id and redis.pcall('GET', key) == owner then
            free(key, 'RELEASED')
        end
    end
end

-- Tells whether the owner waits for the lock by another request.
local function repeated()
    local function stands(other)
        return other ~= id and lives(other) and redis.call('HGET', 'mortise:waiter:' .. other, 'owner') == owner
    end
    if named and stands(named) then return true end
    if named then drop(named, KEYS[1], {}, owner) end
    for _, other in ipairs(redis.call('ZRANGE', 'mortise:queue:' .. KEYS[1], 0, -1)) do
        if stands(other) then return true end
    end
    return false
end

local function granted()
    if named == id then redis.call('HDEL', waiting, owner) end -- he did not claim in time what he was handed
    return { tonumber(grant(KEYS, owner, ttl, ttl, id, metadata)), declared, tonumber(ttl) }
end

if rivals and repeated() then return { -7 } end
if #KEYS > 1 then relinquish() end
if busy() == 0 then return granted() end
if occupied() then return { -10 } end
local work = {}
for i, key in ipairs(KEYS) do work[i] = key end
if wait then
    local came = arrival ~= '0' or redis.call('HEXISTS', name, 'arrival') == 1 -- those behind him may wait for him
    if not came and #holding > 0 and deadlocked(holding) then return { -3 } end
    enqueue()
    serve(work)
    return { claimed() or 0, declared, tonumber(ttl), tonumber(arrival), expiry(), drawn() }
end
serve(work) -- a dead waiter may have been all that was in the way
if busy() > 0 then return { 0, declared, tonumber(ttl) } end
return granted()

-- Unpacks what pack has packed.
local function unpacked(text)
    local values, at = {}, 1
    while at <= #text do
        local colon = string.find(text, ':', at, true)
        local last = colon + tonumber(string.sub(text, at, colon - 1))
        values[#values + 1] = string.sub(text, colon + 1, last)
        at = last + 1
    end
    return values
end

-- A waiter's id begins with its process's, a UUID.
local function process(id) return string.sub(id, 1, 36) end

-- A process that runs this script is alive, whether or not it has given a sign lately.
local function lives(id)
    return process(id) == self or redis.call('EXISTS', 'mortise:process:' .. process(id)) == 1
end

-- Takes a waiter out of the queues of its keys. One who waits by a request with a group
-- is known by the name of the owner too.
local function forget(id, keys, holding, named)
    for _, key in ipairs(keys) do redis.call('ZREM', 'mortise:queue:' .. key, id) end
    for _, owner in ipairs(holding) do redis.call('SREM', 'mortise:blocks:' .. owner, id) end
    redis.call('DEL', 'mortise:waiter:' .. id)
    local waiting = named and 'mortise:waiting:' .. keys[1]
    if waiting and redis.call('HGET', waiting, named) == id then redis.call('HDEL', waiting, named) end
end

-- Drops a waiter, whose process may be dead. What it stood before is then to be looked
-- at: its keys are added to work. The owner is given if he is known by name, in case the
-- waiter's data is lost.
local function drop(id, key, work, owner)
    local waiter = redis.call('HMGET', 'mortise:waiter:' .. id, 'keys', 'holding', 'owner', 'group')
    local keys = waiter[1] and unpacked(waiter[1]) or { key }
    forget(id, keys, unpacked(waiter[2] or ''), owner or waiter[4] and waiter[3])
    for _, other in ipairs(keys) do work[#work + 1] = other end
end

-- Forgets the names of those whose process is dead and whose data is lost.
local function sweep(key)
    local waiting = redis.call('HGETALL', 'mortise:waiting:' .. key)
    for i = 1, #waiting, 2 do
        local owner, id = waiting[i], waiting[i + 1]
        if not lives(id) and redis.call('EXISTS', 'mortise:waiter:' .. id) == 0 then drop(id, key, {}, owner) end
    end
end

-- Returns the first waiter of a key, with his data, or nil. Dead ones on the way are
-- dropped.
local function head(key, work)
    local lost = false
    while true do
        local id = redis.call('ZRANGE', 'mortise:queue:' .. key, 0, 0)[1]
        local waiter = id and redis.call('HMGET', 'mortise:waiter:' .. id, 'keys', 'holding', 'owner', 'ttl', 'metadata', 'group')
        if not id or waiter[1] and lives(id) then
            if lost then sweep(key) end
            return id, waiter
        end
        lost = lost or not waiter[1]
        drop(id, key, work)
    end
end

-- Reports whether a key is free. A key that the user may not access counts as held:
-- another process serves its waiters.
local function vacant(key) return redis.pcall('EXISTS', key) == 0 end

-- Tells whether a waiter comes first for each of several keys, and all of them are free.
local function due(id, keys, work)
    for _, key in ipairs(keys) do
        if not vacant(key) or head(key, work) ~= id then return false end
    end
    return true
end

-- Wakes a waiter. Returns false if nobody hears, because the process is dead. One that
-- runs this script is not; and where we may not publish, waiters find out by themselves.
local function wake(id)
    local heard = redis.pcall('PUBLISH', 'mortise:wake:' .. process(id), id)
    return heard ~= 0 or process(id) == self
end

-- Hands the locks to a waiter. They are his for a short while, in which he has to claim
-- them. Only if the process that runs this script learns by its answer who was served,
-- they are his for the whole TTL at once; until then, an owner who is known by name
-- counts as one who waits. Returns false if he is dead.
local function hand(id, keys, waiter, answer)
    local owner, ttl, last = waiter[3], waiter[4], waiter[4]
    local told = answer and process(id) == self
    if not told then
        if not wake(id) then return false end
        last = math.min(ttl, claim)
    end
    forget(id, keys, unpacked(waiter[2]), told and waiter[6] and owner)
    local token = grant(keys, owner, ttl, last, id, waiter[5])
    if told then
        answer[#answer + 1] = id
        answer[#answer + 1] = tonumber(token)
        answer[#answer + 1] = tonumber(ttl)
    end
    return true
end

-- Hands each of the keys that is free to the waiter who is due.
local function serve(work, answer)
    local i = 1
    while work[i] do
        local key = work[i]
        i = i + 1
        local id, waiter
        if vacant(key) then id, waiter = head(key, work) end
        if id then
            local keys = unpacked(waiter[1])
            if (#keys == 1 or due(id, keys, work)) and not hand(id, keys, waiter, answer) then
                redis.call('DEL', 'mortise:process:' .. process(id))
                drop(id, key, work)
            end
        end
    end
end

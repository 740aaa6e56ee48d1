-- include caller
-- include durations
-- include pack
-- include events

-- A waiter's id begins with that of its process, a UUID.
local function process_of(id) return string.sub(id, 1, 36) end

-- Reports whether a waiter's process is alive. The process that runs this script is
-- alive even if its last heartbeat is too old.
local function is_alive(id)
    return process_of(id) == self or redis.call('EXISTS', 'mortise:process:' .. process_of(id)) == 1
end

-- Removes a waiter from the queues of its keys. If its request has a group, owner is the
-- owner under which mortise:waiting has the waiter, else nil or false.
local function remove_waiter(id, keys, holding, owner)
    for _, key in ipairs(keys) do redis.call('ZREM', 'mortise:queue:' .. key, id) end
    for _, held in ipairs(holding) do redis.call('SREM', 'mortise:blocks:' .. held, id) end
    redis.call('DEL', 'mortise:waiter:' .. id)
    local waiting = owner and 'mortise:waiting:' .. keys[1]
    if waiting and redis.call('HGET', waiting, owner) == id then redis.call('HDEL', waiting, owner) end
end

-- Drops a waiter, whose process may be dead, and adds its keys to work, because a waiter
-- behind it may come first now. The owner is given if mortise:waiting has the waiter, in
-- case the waiter's data is lost.
local function drop_waiter(id, key, work, owner)
    local waiter = redis.call('HMGET', 'mortise:waiter:' .. id, 'keys', 'holding', 'owner', 'group')
    local keys = waiter[1] and unpacked(waiter[1]) or { key }
    remove_waiter(id, keys, unpacked(waiter[2] or ''), owner or waiter[4] and waiter[3])
    for _, other in ipairs(keys) do work[#work + 1] = other end
end

-- Removes from mortise:waiting the waiters whose process is dead and whose data is lost.
local function drop_lost_waiters(key)
    local waiting = redis.call('HGETALL', 'mortise:waiting:' .. key)
    for i = 1, #waiting, 2 do
        local owner, id = waiting[i], waiting[i + 1]
        if not is_alive(id) and redis.call('EXISTS', 'mortise:waiter:' .. id) == 0 then drop_waiter(id, key, {}, owner) end
    end
end

-- Returns the id and the data of a key's first waiter, or nil. Dead waiters before it
-- are dropped.
local function first_waiter(key, work)
    local lost = false
    while true do
        local id = redis.call('ZRANGE', 'mortise:queue:' .. key, 0, 0)[1]
        local waiter = id and redis.call('HMGET', 'mortise:waiter:' .. id, 'keys', 'holding', 'owner', 'ttl', 'metadata', 'group')
        if not id or waiter[1] and is_alive(id) then
            if lost then drop_lost_waiters(key) end
            return id, waiter
        end
        lost = lost or not waiter[1]
        drop_waiter(id, key, work)
    end
end

-- Reports whether a key is free. A key that the user may not access counts as held:
-- another process grants it to its waiters.
local function is_free(key) return redis.pcall('EXISTS', key) == 0 end

-- Reports whether all keys are free and a waiter comes first in each of their queues.
local function comes_first(id, keys, work)
    for _, key in ipairs(keys) do
        if not is_free(key) or first_waiter(key, work) ~= id then return false end
    end
    return true
end

-- Wakes a waiter, and reports whether its process is alive: if no connection receives
-- the message, it is dead, unless it is the process that runs this script. A user that
-- may not publish cannot find that out, so the process counts as alive; its next check
-- finds the lock.
local function wake(id)
    local receivers = redis.pcall('PUBLISH', 'mortise:wake:' .. process_of(id), id)
    return receivers ~= 0 or process_of(id) == self
end

-- Hands locks over to a waiter, which must claim them within claim_ms. If its process
-- runs this script and reads the answer, the answer is the claim: the locks last for the
-- whole TTL at once. Until a claim, an owner in mortise:waiting counts as waiting.
-- Returns false if the waiter's process is dead.
local function hand_over(id, keys, waiter, answer)
    local owner, ttl, expiry = waiter[3], waiter[4], waiter[4]
    local claimed = answer and process_of(id) == self
    if not claimed then
        if not wake(id) then return false end
        expiry = math.min(ttl, claim_ms)
    end
    remove_waiter(id, keys, unpacked(waiter[2]), claimed and waiter[6] and owner)
    local token = grant(keys, owner, ttl, expiry, id, waiter[5])
    if claimed then
        answer[#answer + 1] = id
        answer[#answer + 1] = tonumber(token)
        answer[#answer + 1] = tonumber(ttl)
    end
    return true
end

-- Grants each key of work that is free to the waiter that comes first. The optional
-- answer receives the grants to waiters of the process that runs this script.
local function grant_next(work, answer)
    local i = 1
    while work[i] do
        local key = work[i]
        i = i + 1
        local id, waiter
        if is_free(key) then id, waiter = first_waiter(key, work) end
        if id then
            local keys = unpacked(waiter[1])
            if (#keys == 1 or comes_first(id, keys, work)) and not hand_over(id, keys, waiter, answer) then
                redis.call('DEL', 'mortise:process:' .. process_of(id))
                drop_waiter(id, key, work)
            end
        end
    end
end

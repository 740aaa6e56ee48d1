-- include pack
-- include queue

-- Reports whether a request for KEYS would wait, directly or through other requests, for
-- a lock that one of these owners holds. The search visits at most 1000 requests.
local function is_deadlock(holding)
    local ours, known, requests = {}, {}, { { keys = KEYS, arrival = math.huge } }
    local scanned = {} -- by key, the arrival up to which its queue was visited
    for _, owner in ipairs(holding) do ours[owner] = true end

    local function follow(ids)
        for _, id in ipairs(ids) do
            local waiter = not known[id] and redis.call('HMGET', 'mortise:waiter:' .. id, 'keys', 'arrival')
            known[id] = true
            if waiter and waiter[1] and is_alive(id) and #requests < 1000 then
                requests[#requests + 1] = { keys = unpacked(waiter[1]), arrival = tonumber(waiter[2]) }
            end
        end
    end

    -- Reports whether one of these owners holds the key's lock. Else it follows the
    -- requests of the holder, and those that are queued for the key before the arrival.
    local function visit(key, arrival)
        local from = scanned[key]
        local holder = not from and redis.pcall('GET', key)
        if type(holder) == 'string' then
            if ours[holder] then return true end
            follow(redis.call('SMEMBERS', 'mortise:blocks:' .. holder))
        end
        if not from or from < arrival then
            scanned[key] = arrival
            local last = arrival < math.huge and string.format('(%.0f', arrival) or '+inf'
            follow(redis.call('ZRANGEBYSCORE', 'mortise:queue:' .. key, string.format('%.0f', from or 0), last, 'LIMIT', 0, 1000))
        end
        return false
    end

    local i = 1
    while requests[i] do
        for _, key in ipairs(requests[i].keys) do
            if visit(key, requests[i].arrival) then return true end
        end
        i = i + 1
    end
    return false
end

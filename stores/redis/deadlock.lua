-- Tells whether the locks, or those who wait for them already, wait for a lock that one of these owners holds, directly or
-- through others. It looks at a thousand requests at most.
local function deadlocked(holding)
    local ours, known, requests = {}, {}, { { keys = KEYS, arrival = '+inf' } }
    for _, owner in ipairs(holding) do ours[owner] = true end

    local function follow(ids)
        for _, id in ipairs(ids) do
            local waiter = not known[id] and redis.call('HMGET', 'mortise:waiter:' .. id, 'keys', 'arrival')
            known[id] = true
            if waiter and waiter[1] and lives(id) and #requests < 1000 then
                requests[#requests + 1] = { keys = unpacked(waiter[1]), arrival = '(' .. waiter[2] }
            end
        end
    end

    local i = 1
    while requests[i] do
        for _, key in ipairs(requests[i].keys) do
            local holder = redis.pcall('GET', key)
            if type(holder) == 'string' then
                if ours[holder] then return true end
                follow(redis.call('SMEMBERS', 'mortise:blocks:' .. holder))
            end
            follow(redis.call('ZRANGEBYSCORE', 'mortise:queue:' .. key, '-inf', requests[i].arrival, 'LIMIT', 0, 1000))
        end
        i = i + 1
    end
    return false
end

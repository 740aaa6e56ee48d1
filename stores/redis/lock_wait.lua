
local holding = {}
for i = 12, #ARGV do holding[#holding + 1] = ARGV[i] end

-- Puts the waiter into the queues, at the place that he had or as the last.
local function enqueue()
    arrival = redis.call('HGET', name, 'arrival') or (arrival ~= '0' and arrival) or draw()
    redis.call('SET', 'mortise:process:' .. self, '', 'PX', alive)
    redis.call('HSET', name, 'owner', owner, 'ttl', ttl, 'metadata', metadata, 'arrival', arrival,
        'keys', pack(KEYS), 'holding', pack(holding))
    redis.call('PEXPIRE', name, kept)
    for _, key in ipairs(KEYS) do
        local queue = 'mortise:queue:' .. key
        redis.call('ZADD', queue, arrival, id)
        redis.call('PEXPIRE', queue, kept)
    end
    for _, held in ipairs(holding) do
        local blocks = 'mortise:blocks:' .. held
        redis.call('SADD', blocks, id)
        redis.call('PEXPIRE', blocks, kept)
    end
    if group ~= '' then
        named = id
        redis.call('HSET', name, 'group', group)
        redis.call('HSET', waiting, owner, id)
        redis.call('PEXPIRE', waiting, kept)
    end
end

-- The usual case: while the lock is held, no waiter can be served. A key of another type
-- that expires is not a lock.
if wait and not rivals and #KEYS == 1 and #holding == 0 then
    local left = redis.call('PTTL', KEYS[1])
    if left >= 0 and type(redis.pcall('GET', KEYS[1])) == 'string' then
        enqueue()
        return { 0, declared, tonumber(ttl), tonumber(arrival), left, drawn() }
    end
end

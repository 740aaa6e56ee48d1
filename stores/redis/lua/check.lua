-- Renews the heartbeat of a process, grants the free locks that its waiters wait for to
-- the first waiters, and refreshes the data of its waiters. Returns the milliseconds
-- until the first of the locks expires, or -1, and then the indexes of the waiters that
-- must repeat their request: those that are not queued, because a lock was granted to
-- them or their data was lost, and those whose key holds data that is not a lock or must
-- not be read.
-- ARGV: after those of lib/caller, 4 the number of keys, the keys of the waiters, and
-- the waiters' ids. The keys are not in KEYS, because Redis rejects a script if the user
-- may not access one of its KEYS, and the waiters for all other keys would lose their
-- places.

-- include caller
-- include durations
-- include pack
-- include queue
-- include data

local reply, work, unusable = { -1 }, {}, {}
local last = 4 + (ARGV[4] or 0)

-- Reports whether a waiter waits for a key that it cannot get.
local function cannot_succeed(keys)
    for _, key in ipairs(next(unusable) and unpacked(keys) or {}) do
        if unusable[key] then return true end
    end
    return false
end

redis.call('SET', 'mortise:process:' .. self, '', 'PX', alive_ms)
redis.pcall('PUBLISH', 'mortise:wake:' .. self, '') -- proves that the subscription works
for i = 5, last do
    local key = ARGV[i]
    work[#work + 1] = key
    redis.call('PEXPIRE', 'mortise:queue:' .. key, kept_ms)
    redis.call('PEXPIRE', 'mortise:waiting:' .. key, kept_ms)
end
grant_next(work)
for i = 5, last do
    local key = ARGV[i]
    local left = redis.pcall('PTTL', key)
    if type(left) == 'table' or is_data(key, redis.pcall('GET', key)) then
        unusable[key] = true
    elseif left >= 0 and (reply[1] < 0 or left < reply[1]) then
        reply[1] = left
    end
end
for i = last + 1, #ARGV do
    local name = 'mortise:waiter:' .. ARGV[i]
    local waiter = redis.call('HMGET', name, 'holding', 'keys')
    if not waiter[1] or cannot_succeed(waiter[2]) then reply[#reply + 1] = i - last - 1 end
    if waiter[1] then
        redis.call('PEXPIRE', name, kept_ms)
        for _, owner in ipairs(unpacked(waiter[1])) do redis.call('PEXPIRE', 'mortise:blocks:' .. owner, kept_ms) end
    end
end
return reply

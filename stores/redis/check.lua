-- Reports that a process lives, serves the keys that its waiters wait for, and refreshes
-- the data of the waiters. Returns in how many milliseconds the first of the locks
-- expires, or -1, and then the numbers of the waiters that have to ask: those in no
-- queue, because they were served or because their data was lost, and those whose key
-- holds data that is not a lock or may not be read.
-- ARGV: after who runs it, 4 the number of keys, the keys that are waited for, and the
-- ids of the waiters. The keys are not in KEYS, because Redis rejects a script with a key
-- there that the user may not access, and the waiters for all other keys would lose their
-- places.
local reply, work, unusable = { -1 }, {}, {}
local last = 4 + (ARGV[4] or 0)

-- Reports whether a waiter waits for a key that it cannot get.
local function hopeless(keys)
    for _, key in ipairs(next(unusable) and unpacked(keys) or {}) do
        if unusable[key] then return true end
    end
    return false
end

redis.call('SET', 'mortise:process:' .. self, '', 'PX', alive)
redis.pcall('PUBLISH', 'mortise:wake:' .. self, '')
for i = 5, last do
    local key = ARGV[i]
    work[#work + 1] = key
    redis.call('PEXPIRE', 'mortise:queue:' .. key, kept)
    redis.call('PEXPIRE', 'mortise:waiting:' .. key, kept)
end
serve(work)
for i = 5, last do
    local key = ARGV[i]
    local left = redis.pcall('PTTL', key)
    if type(left) == 'table' or isdata(key, redis.pcall('GET', key)) then
        unusable[key] = true
    elseif left >= 0 and (reply[1] < 0 or left < reply[1]) then
        reply[1] = left
    end
end
for i = last + 1, #ARGV do
    local name = 'mortise:waiter:' .. ARGV[i]
    local waiter = redis.call('HMGET', name, 'holding', 'keys')
    if not waiter[1] or hopeless(waiter[2]) then reply[#reply + 1] = i - last - 1 end
    if waiter[1] then
        redis.call('PEXPIRE', name, kept)
        for _, owner in ipairs(unpacked(waiter[1])) do redis.call('PEXPIRE', 'mortise:blocks:' .. owner, kept) end
    end
end
return reply

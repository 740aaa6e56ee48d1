-- Takes all locks for one owner, or waits for them, or claims what was handed to the
-- waiter. Running it again changes nothing. Returns the fencing token, or 0 if the locks
-- are not to be had now; the number of the lock's declaration, or 0 without a group; the
-- TTL in milliseconds; and, if the waiter stands in the queues, the arrival number, in
-- how many milliseconds the first of the locks expires, or -1, and the last number drawn.
-- Or one number: -3 if waiting would be a deadlock, -4 if the waiter has left, -5 if the
-- lock is not declared, or has been declared again, -6 if the owner has given up waiting,
-- -7 if it holds the lock or waits for it by another request, or -10 if one of the keys
-- holds data that is not a lock.
-- KEYS: the locks; one, if there is a group
-- ARGV: after who runs it, 4 the waiter's id, 5 owner, 6 TTL in milliseconds, 7 metadata,
-- 8 whether to wait, 1 or 0, 9 the arrival number, or 0 if the waiter is new, 10 the
-- group in which the lock must be declared, or nothing, 11 the number of the declaration
-- that the waiter knows, or 0, and then the owners that it holds locks as
local id, owner, ttl, metadata, wait, arrival, group = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8] == '1', ARGV[9], ARGV[10]
local name, declared = 'mortise:waiter:' .. id, 0
-- With a group: the hash of who wait with one, whom it has for the owner, and whether
-- another request of his may wait.
local waiting, named, rivals

-- Lets the locks that are the waiter's last from now, if they are all his still. Returns
-- the token. A claim may come late, when the locks were renewed for longer.
local function claimed()
    local token
    for _, key in ipairs(KEYS) do
        local record = redis.call('HMGET', 'mortise:lock:' .. key, 'request', 'token')
        if record[1] ~= id or redis.pcall('GET', key) ~= owner then return nil end
        token = record[2]
    end
    for _, key in ipairs(KEYS) do
        if redis.call('PTTL', key) < tonumber(ttl) then
            redis.call('PEXPIRE', key, ttl)
            redis.call('PEXPIRE', 'mortise:lock:' .. key, ttl)
        end
    end
    if named == id then redis.call('HDEL', waiting, owner) end
    return tonumber(token)
end

local left = redis.call('HGET', name, 'left')
if left then return { tonumber(left) } end
if group ~= '' then
    local number, last = string.match(redis.call('HGET', 'mortise:group:' .. group, KEYS[1]) or '', '^(%d+) (%d+)')
    if not number or ARGV[11] ~= '0' and ARGV[11] ~= number then
        return { isdata(KEYS[1], redis.pcall('GET', KEYS[1])) and -10 or -5 }
    end
    declared, ttl, waiting = tonumber(number), last, 'mortise:waiting:' .. KEYS[1]
    named = redis.call('HGET', waiting, owner)
end
local token = claimed()
if token then return { token, declared, tonumber(ttl) } end
if group ~= '' and named ~= id then
    local value = redis.pcall('GET', KEYS[1])
    if isdata(KEYS[1], value) then return { -10 } end
    if value == owner then return { -7 } end
    rivals = named or redis.call('ZCARD', 'mortise:queue:' .. KEYS[1]) > redis.call('HLEN', waiting) -- some without a group
end

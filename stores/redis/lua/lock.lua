-- Acquires all locks for one owner, waits for them, or claims what was handed over to the
-- waiter. Running it again changes nothing. Returns the fencing token, or 0 if the locks
-- are not available; the number of the lock's declaration, or 0 without a group; the TTL
-- in milliseconds; and, if the waiter is queued, its arrival number, the milliseconds
-- until the first of the locks expires, or -1, and the last sequence number. Otherwise
-- one number: -3 if waiting would be a deadlock, -4 if the waiter has left, -5 if the
-- lock is not declared or was declared again, -6 if the owner has released the lock while
-- it waited, -7 if the owner holds the lock or waits for it by another request, or -10 if
-- one of the keys holds data that is not a lock.
-- KEYS: the locks; exactly one if there is a group
-- ARGV: after those of lib/caller, 4 the waiter's id, 5 owner, 6 TTL in milliseconds, 7
-- metadata, 8 whether to wait, 1 or 0, 9 the arrival number, or 0 if the waiter is new,
-- 10 the group in which the lock must be declared, or nothing, 11 the number of the
-- declaration that the waiter knows, or 0, and then the owners that it holds locks as

-- include data

local id, owner, ttl, metadata, wait, arrival, group = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8] == '1', ARGV[9], ARGV[10]
local name, declared = 'mortise:waiter:' .. id, 0
-- With a group: the hash of waiters by owner, the owner's waiter in it, and whether
-- another request of the owner may be queued.
local waiting, registered, may_repeat

-- Extends the locks to the TTL if all of them were granted to this waiter, and returns
-- the token, else nil. A claim that comes after a renewal for longer does not shorten
-- it.
local function claim()
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
    if registered == id then redis.call('HDEL', waiting, owner) end
    return tonumber(token)
end

local left = redis.call('HGET', name, 'left')
if left then return { tonumber(left) } end
if group ~= '' then
    local number, declared_ttl = string.match(redis.call('HGET', 'mortise:group:' .. group, KEYS[1]) or '', '^(%d+) (%d+)')
    if not number or ARGV[11] ~= '0' and ARGV[11] ~= number then
        return { is_data(KEYS[1], redis.pcall('GET', KEYS[1])) and -10 or -5 }
    end
    declared, ttl, waiting = tonumber(number), declared_ttl, 'mortise:waiting:' .. KEYS[1]
    registered = redis.call('HGET', waiting, owner)
end
local token = claim()
if token then return { token, declared, tonumber(ttl) } end
if group ~= '' and registered ~= id then
    local value = redis.pcall('GET', KEYS[1])
    if is_data(KEYS[1], value) then return { -10 } end
    if value == owner then return { -7 } end
    -- A queue that is longer than the hash has waiters without a group.
    may_repeat = registered or redis.call('ZCARD', 'mortise:queue:' .. KEYS[1]) > redis.call('HLEN', waiting)
end

-- include number
-- include durations
-- include pack

local holding = {}
for i = 12, #ARGV do holding[#holding + 1] = ARGV[i] end

local function last_number() return tonumber(redis.call('GET', 'mortise:token')) end

-- Puts the waiter into the queues, at the place that it had or at the end.
local function enqueue()
    arrival = redis.call('HGET', name, 'arrival') or (arrival ~= '0' and arrival) or next_number()
    redis.call('SET', 'mortise:process:' .. self, '', 'PX', alive_ms)
    redis.call('HSET', name, 'owner', owner, 'ttl', ttl, 'metadata', metadata, 'arrival', arrival,
        'keys', pack(KEYS), 'holding', pack(holding))
    redis.call('PEXPIRE', name, kept_ms)
    for _, key in ipairs(KEYS) do
        local queue = 'mortise:queue:' .. key
        redis.call('ZADD', queue, arrival, id)
        redis.call('PEXPIRE', queue, kept_ms)
    end
    for _, held in ipairs(holding) do
        local blocks = 'mortise:blocks:' .. held
        redis.call('SADD', blocks, id)
        redis.call('PEXPIRE', blocks, kept_ms)
    end
    if group ~= '' then
        registered = id
        redis.call('HSET', name, 'group', group)
        redis.call('HSET', waiting, owner, id)
        redis.call('PEXPIRE', waiting, kept_ms)
    end
end

-- The usual case: while the lock is held, no waiter can acquire it. A key of another type
-- that expires is not a lock.
if wait and not may_repeat and #KEYS == 1 and #holding == 0 then
    local expiry = redis.call('PTTL', KEYS[1])
    if expiry >= 0 and type(redis.pcall('GET', KEYS[1])) == 'string' then
        enqueue()
        return { 0, declared, tonumber(ttl), tonumber(arrival), expiry, last_number() }
    end
end

-- include queue
-- include deadlock

-- Returns in how many milliseconds the first of the locks expires, or -1.
local function first_expiry()
    local first = -1
    for _, key in ipairs(KEYS) do
        local expiry = redis.call('PTTL', key)
        if expiry >= 0 and (first < 0 or expiry < first) then first = expiry end
    end
    return first
end

-- Reports whether one of the locks is held or has waiters.
local function is_busy()
    for _, key in ipairs(KEYS) do
        if redis.call('EXISTS', key, 'mortise:queue:' .. key) > 0 then return true end
    end
    return false
end

-- Reports whether one of the keys holds data that is not a lock.
local function has_data()
    for _, key in ipairs(KEYS) do
        if is_data(key, redis.pcall('GET', key)) then return true end
    end
    return false
end

-- Releases the remaining locks of a grant of which one was revoked before the claim.
local function release_partial_grant()
    for _, key in ipairs(KEYS) do
        if redis.call('HGET', 'mortise:lock:' .. key, 'request') == id and redis.pcall('GET', key) == owner then
            delete_lock(key, 'RELEASED')
        end
    end
end

-- Reports whether the owner waits for the lock by another request.
local function is_repeated()
    local function is_rival(other)
        return other ~= id and is_alive(other) and redis.call('HGET', 'mortise:waiter:' .. other, 'owner') == owner
    end
    if registered and is_rival(registered) then return true end
    if registered then drop_waiter(registered, KEYS[1], {}, owner) end
    for _, other in ipairs(redis.call('ZRANGE', 'mortise:queue:' .. KEYS[1], 0, -1)) do
        if is_rival(other) then return true end
    end
    return false
end

local function grant_all()
    -- An earlier grant to the waiter may have expired before its claim.
    if registered == id then redis.call('HDEL', waiting, owner) end
    return { tonumber(grant(KEYS, owner, ttl, ttl, id, metadata)), declared, tonumber(ttl) }
end

if may_repeat and is_repeated() then return { -7 } end
if #KEYS > 1 then release_partial_grant() end
if not is_busy() then return grant_all() end
if has_data() then return { -10 } end
local work = {}
for i, key in ipairs(KEYS) do work[i] = key end
if wait then
    -- Only a new waiter can close a cycle: requests behind a queued one may wait for it.
    local queued = arrival ~= '0' or redis.call('HEXISTS', name, 'arrival') == 1
    if not queued and #holding > 0 and is_deadlock(holding) then return { -3 } end
    enqueue()
    grant_next(work)
    return { claim() or 0, declared, tonumber(ttl), tonumber(arrival), first_expiry(), last_number() }
end
grant_next(work) -- only dead waiters may be queued
if is_busy() then return { 0, declared, tonumber(ttl) } end
return grant_all()

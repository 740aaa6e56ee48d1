-- Who runs the script: 1 its process, 2 the largest number it has seen, 3 the channel of
-- the events.
local self, seen, events = ARGV[1], tonumber(ARGV[2]), ARGV[3]

-- Milliseconds: what a waiter has to claim his lock, how long a process counts as alive
-- without a sign, and how long what it has written is kept. The second is not longer than
-- the first, so that of processes that all have stopped only one is waited for.
local claim, alive, kept = 850, 850, 5000

-- Packs values into one text: of each the length, a colon and itself.
local function pack(values)
    local parts = {}
    for i, value in ipairs(values) do parts[i] = #value .. ':' .. value end
    return table.concat(parts)
end

-- Draws the next number of the one sequence of tokens, revisions and arrivals. It follows
-- the clock, so that it grows although a Redis that comes back empty has forgotten the
-- last one. What others wrote there counts only if one can go on from it.
local function draw()
    local time, last, most = redis.call('TIME'), tonumber(redis.call('GET', 'mortise:token') or 0), 2 ^ 53 - 1
    local number = time[1] * 1000000 + time[2]
    if last and last >= number and last < most then number = last + 1 end
    if seen >= number and seen < most then number = seen + 1 end
    number = string.format('%.0f', number)
    redis.call('SET', 'mortise:token', number)
    return number
end

-- Returns the number that was drawn last.
local function drawn() return tonumber(redis.call('GET', 'mortise:token')) end

-- Gives free locks to an owner, with one token, for so many milliseconds as last says. No
-- watcher is told.
local function write(keys, owner, ttl, last, request, metadata)
    local token = draw()
    for _, key in ipairs(keys) do
        local record = 'mortise:lock:' .. key
        redis.call('SET', key, owner, 'PX', last)
        redis.call('HSET', record, 'owner', owner, 'token', token, 'ttl', ttl, 'request', request, 'metadata', metadata)
        redis.call('PEXPIRE', record, last)
    end
    return token
end

-- Releases or revokes the lock, and grants it to the next waiter.
-- Returns 0, -1 if the lock is free, -2 if another owner holds it, or -10 if the key
-- holds data that is not a lock; and then, for each lock that was granted to a waiter of
-- the process that runs this script, the waiter's id, the token and the TTL in
-- milliseconds.
-- KEYS: 1 the lock
-- ARGV: after those of lib/caller, 4 owner, 5 RELEASED or REVOKED, 6 for REVOKED the
-- request's id, and for RELEASED 'waits' if the owner's wait for the lock by a request
-- with a group ends too.
-- A revocation without an owner ends the current holder's lock, and a repeated one with
-- the same id does not end a later holder's.

local key, record, waiting = KEYS[1], 'mortise:lock:' .. KEYS[1], 'mortise:waiting:' .. KEYS[1]
local owner = redis.pcall('GET', key)
-- The usual case: no waiter and no watcher.
if owner == ARGV[4] and redis.call('EXISTS', record) == 1
    and redis.call('EXISTS', 'mortise:queue:' .. key, 'mortise:watched', waiting) == 0 then
    redis.call('DEL', key, record)
    return { 0 }
end

-- include data
-- include managed

local note = ARGV[4] == '' and 'mortise:revoked:' .. ARGV[6]
if note and redis.call('EXISTS', note) == 1 then return { 0 } end
if is_data(key, owner) or note and owner and not is_managed(key, owner) then return { -10 } end
local holds = owner and (owner == ARGV[4] or note)
local waits = ARGV[6] == 'waits' and redis.call('HGET', waiting, ARGV[4])
if not holds and not waits then return { owner and -2 or -1 } end

-- include queue
-- include cancel

local answer, work = { 0 }, { key }
if waits and not is_alive(waits) then
    -- A waiter whose process is dead does not count.
    drop_waiter(waits, key, work, ARGV[4])
    if not holds then answer[1] = owner and -2 or -1 end
elseif waits and (not holds or redis.call('HGET', record, 'request') == waits) then
    -- The lock may have been handed to the waiter, which has not claimed it yet: its
    -- request fails then, as if it still waited.
    redis.call('HDEL', waiting, ARGV[4])
    cancel_wait(waits, key, -6)
end
if note then redis.call('SET', note, '', 'PX', 60000) end
if holds then delete_lock(key, ARGV[5]) end
grant_next(work, answer)
return answer

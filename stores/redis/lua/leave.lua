-- Removes a waiter from its queues, or releases what it was granted meanwhile, and
-- grants free locks to the next waiters.
-- KEYS: the locks
-- ARGV: after those of lib/caller, 4 the waiter's id, 5 owner, 6 for how many
-- milliseconds to keep a note that the waiter has left, so that a delayed request does
-- not queue it again, or 0, 7 the group of its request, or nothing, and then the owners
-- that it holds locks as

-- include queue

local id, owner, note_ms = ARGV[4], ARGV[5], ARGV[6]
local holding, work = {}, {}
for i = 8, #ARGV do holding[#holding + 1] = ARGV[i] end
for i, key in ipairs(KEYS) do
    work[i] = key
    if redis.call('HGET', 'mortise:lock:' .. key, 'request') == id and redis.pcall('GET', key) == owner then
        delete_lock(key, 'RELEASED')
    end
end
remove_waiter(id, KEYS, holding, ARGV[7] ~= '' and owner)
if note_ms ~= '0' then
    redis.call('HSET', 'mortise:waiter:' .. id, 'left', -4)
    redis.call('PEXPIRE', 'mortise:waiter:' .. id, note_ms)
end
grant_next(work)
return 0

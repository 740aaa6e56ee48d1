-- Takes a waiter out of its queues, or gives back what it was granted meanwhile, and
-- serves who comes next. KEYS: the locks ARGV: after who runs it, 4 the waiter's id, 5
-- owner, 6 for how many milliseconds to remember that it has left, lest a request on the
-- way bring it back, 7 the group of its request, or nothing, and then the owners that it
-- holds locks as
local id, owner, remember = ARGV[4], ARGV[5], ARGV[6]
local holding, work = {}, {}
for i = 8, #ARGV do holding[#holding + 1] = ARGV[i] end
for i, key in ipairs(KEYS) do
    work[i] = key
    if redis.call('HGET', 'mortise:lock:' .. key, 'request') == id and redis.pcall('GET', key) == owner then
        free(key, 'RELEASED')
    end
end
forget(id, KEYS, holding, ARGV[7] ~= '' and owner)
if remember ~= '0' then
    redis.call('HSET', 'mortise:waiter:' .. id, 'left', -4)
    redis.call('PEXPIRE', 'mortise:waiter:' .. id, remember)
end
serve(work)
return 0

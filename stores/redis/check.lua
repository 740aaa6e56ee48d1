-- Tells that a process lives, and looks after waiters of it: serves their keys and keeps their data. Returns in how many
-- milliseconds the first of their locks expires, or -1, and then the numbers of the waiters that are in no queue, because they
-- were served or because their data was lost.
-- KEYS: the keys that are waited for
-- ARGV: after who runs it, the ids of the waiters
local reply, work = { -1 }, {}
redis.call('SET', 'mortise:process:' .. self, '', 'PX', alive)
redis.pcall('PUBLISH', 'mortise:wake:' .. self, '')
for i, key in ipairs(KEYS) do
    work[i] = key
    redis.call('PEXPIRE', 'mortise:queue:' .. key, kept)
    redis.call('PEXPIRE', 'mortise:waiting:' .. key, kept)
end
serve(work)
for _, key in ipairs(KEYS) do
    local left = redis.call('PTTL', key)
    if left >= 0 and (reply[1] < 0 or left < reply[1]) then reply[1] = left end
end
for i = 4, #ARGV do
    local name = 'mortise:waiter:' .. ARGV[i]
    local holding = redis.call('HGET', name, 'holding')
    if not holding then
        reply[#reply + 1] = i - 4
    else
        redis.call('PEXPIRE', name, kept)
        for _, owner in ipairs(unpacked(holding)) do redis.call('PEXPIRE', 'mortise:blocks:' .. owner, kept) end
    end
end
return reply

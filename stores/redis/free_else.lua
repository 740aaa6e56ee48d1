
local answer, work = { 0 }, { key }
-- What an owner gives back may have been handed to him, and he does not know it yet: then
-- he has given up waiting, too. One whose process is dead does not wait.
if waits and not lives(waits) then
    drop(waits, key, work, ARGV[4])
    if not holds then answer[1] = owner and -2 or -1 end
elseif waits and (not holds or redis.call('HGET', record, 'request') == waits) then
    redis.call('HDEL', waiting, ARGV[4])
    dismiss(waits, key, -6)
end
if note then redis.call('SET', note, '', 'PX', 60000) end
if holds then free(key, ARGV[5]) end
serve(work, answer)
return answer

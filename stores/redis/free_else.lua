
-- What an owner gives back may have been handed to him, and he does not know it yet: then he has given up waiting, too.
if waits and (not holds or redis.call('HGET', 'mortise:lock:' .. key, 'request') == waits) then
    redis.call('HDEL', waiting, ARGV[4])
    dismiss(waits, key, -6)
end
if note then redis.call('SET', note, '', 'PX', 60000) end
if holds then free(key, ARGV[5]) end
local answer = { 0 }
serve({ key }, answer)
return answer

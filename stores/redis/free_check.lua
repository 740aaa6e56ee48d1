local note = ARGV[4] == '' and 'mortise:revoked:' .. ARGV[6]
if note and redis.call('EXISTS', note) == 1 then return { 0 } end
if owner and not held(key, owner) then owner = nil end
local holds = owner and (owner == ARGV[4] or note)
local waits = ARGV[5] == 'RELEASED' and redis.call('HGET', waiting, ARGV[4])
if not holds and not waits then return { owner and -2 or -1 } end

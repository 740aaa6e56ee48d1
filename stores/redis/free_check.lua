local note = ARGV[4] == '' and 'mortise:revoked:' .. ARGV[6]
if note and redis.call('EXISTS', note) == 1 then return { 0 } end
if isdata(key, owner) or note and owner and not known(key, owner) then return { -10 } end
local holds = owner and (owner == ARGV[4] or note)
local waits = ARGV[5] == 'RELEASED' and redis.call('HGET', waiting, ARGV[4])
if not holds and not waits then return { owner and -2 or -1 } end

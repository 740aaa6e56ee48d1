if owner and not held(key, owner) then owner = nil end
local holds = owner and (owner == ARGV[4] or ARGV[4] == '' and ARGV[5] == 'REVOKED')
local waits = ARGV[5] == 'RELEASED' and redis.call('HGET', waiting, ARGV[4])
if not holds and not waits then return { owner and -2 or -1 } end

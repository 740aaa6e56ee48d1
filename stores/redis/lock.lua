-- Takes all locks for one owner, or waits for them, or claims what was handed to the waiter. Running it again changes nothing.
-- Returns numbers: the fencing token, or 0 if the locks are not to be had now, or -3 if waiting would be a deadlock, or -4 if the
-- waiter has left; the arrival number; in how many milliseconds the first of the locks expires, or -1; and, if the waiter stands
-- in the queues, the last number drawn.
-- KEYS: the locks
-- ARGV: after who runs it, 4 the waiter's id, 5 owner, 6 TTL in milliseconds, 7 metadata, 8 whether to wait, 1 or 0, 9 the
-- arrival number, or 0 if the waiter is new, and then the owners that it holds locks as
local id, owner, ttl, metadata, wait, arrival = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8] == '1', ARGV[9]
local name = 'mortise:waiter:' .. id

-- Lets the locks that are the waiter's last from now, if they are all his still. Returns the token.
local function claimed()
    local token
    for _, key in ipairs(KEYS) do
        local record = redis.call('HMGET', 'mortise:lock:' .. key, 'request', 'token')
        if record[1] ~= id or redis.call('GET', key) ~= owner then return nil end
        token = record[2]
    end
    for _, key in ipairs(KEYS) do
        redis.call('PEXPIRE', key, ttl)
        redis.call('PEXPIRE', 'mortise:lock:' .. key, ttl)
    end
    return tonumber(token)
end

if redis.call('HEXISTS', name, 'left') == 1 then return { -4, 0, -1 } end
local token = claimed()
if token then return { token, 0, -1 } end


-- Ends a waiter's request with a group, for a reason that he learns when he asks again.
local function dismiss(id, key, reason)
    drop(id, key, {})
    redis.call('HSET', 'mortise:waiter:' .. id, 'left', reason)
    redis.call('PEXPIRE', 'mortise:waiter:' .. id, 60000)
    wake(id)
end

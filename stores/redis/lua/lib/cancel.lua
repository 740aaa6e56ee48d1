-- include queue

-- Cancels the wait of a request with a group. The waiter receives the reason, an error
-- code, when it asks again.
local function cancel_wait(id, key, reason)
    drop_waiter(id, key, {})
    redis.call('HSET', 'mortise:waiter:' .. id, 'left', reason)
    redis.call('PEXPIRE', 'mortise:waiter:' .. id, 60000)
    wake(id)
end

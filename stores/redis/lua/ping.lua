-- Acquires a lock and releases it at once, so that Redis replies as it would to a request
-- for a lock.
-- KEYS: 1 a key that only this store uses

-- include write

write_locks(KEYS, 'ping', 1000, 1000, 'ping', '')
redis.call('DEL', KEYS[1], 'mortise:lock:' .. KEYS[1])
return 0

-- Describes one lock, whichever program acquired it. Returns 0 and the description, if
-- there is one, or -10 if the key holds data that is not a lock.
-- KEYS: 1 the lock

-- include data
-- include describe

if is_data(KEYS[1], redis.pcall('GET', KEYS[1])) then return { -10 } end
return { 0, unpack(describe(KEYS[1]) or {}) }

-- Renews the watcher's heartbeat, and publishes a report on its channel, in order with
-- the events: the request's number, the number at which the current period with watchers
-- began, the revision, and descriptions of some locks. Returns the number at which the
-- period began.
-- ARGV: after those of lib/caller, 4 the watcher's channel, 5 the request's number, and
-- then the locks, which are not in KEYS, because Redis rejects a script if the user may
-- not access one of its KEYS

-- include number
-- include pack
-- include describe

local since = redis.call('GET', 'mortise:watched') or next_number()
redis.call('SET', 'mortise:watched', since, 'PX', 5000)
local report = { ARGV[5], since, next_number() }
for i = 6, #ARGV do
    for _, value in ipairs(describe(ARGV[i]) or {}) do report[#report + 1] = value end
end
redis.call('PUBLISH', ARGV[4], pack(report))
return since

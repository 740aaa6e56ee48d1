-- Tells that somebody watches, and publishes to him alone, in line with the events: the
-- number by which he knows the request, the number of the time for which there have been
-- watchers without a gap, the revision, and descriptions of some locks. Returns the
-- second of them.
-- ARGV: after who runs it, 4 the watcher's channel, 5 the request's number, and then the
-- locks, which are not in KEYS, because Redis rejects a script with a key there that the
-- user may not access
local since = redis.call('GET', 'mortise:watched') or draw()
redis.call('SET', 'mortise:watched', since, 'PX', 5000)
local report = { ARGV[5], since, draw() }
for i = 6, #ARGV do
    for _, value in ipairs(describe(ARGV[i]) or {}) do report[#report + 1] = value end
end
redis.call('PUBLISH', ARGV[4], pack(report))
return since

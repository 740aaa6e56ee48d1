-- The first arguments of a script describe the store that runs it: 1 its id, 2 the
-- largest number that it has seen, 3 the channel on which it expects events.
local self, seen, events = ARGV[1], tonumber(ARGV[2]), ARGV[3]

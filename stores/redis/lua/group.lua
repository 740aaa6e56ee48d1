-- Returns the last sequence number, and then descriptions of the locks of groups, all as
-- of one moment.
-- ARGV: the groups

-- include describe

local values = { redis.call('GET', 'mortise:token') or '0' }
for _, group in ipairs(ARGV) do
    local declarations = redis.call('HGETALL', 'mortise:group:' .. group)
    for i = 1, #declarations, 2 do
        local ttl = string.match(declarations[i + 1], '^%d+ (%d+)')
        for _, value in ipairs(describe(declarations[i], ttl)) do values[#values + 1] = value end
    end
end
return values

-- include caller

-- Returns the next number of the sequence that tokens, revisions and arrivals share.
-- Numbers follow Redis's clock, so that they grow even if Redis has lost the last one. A
-- stored value that is not a number, or too large to be incremented, is ignored.
local function next_number()
    local time, last, most = redis.call('TIME'), tonumber(redis.call('GET', 'mortise:token') or 0), 2 ^ 53 - 1
    local number = time[1] * 1000000 + time[2]
    if last and last >= number and last < most then number = last + 1 end
    if seen >= number and seen < most then number = seen + 1 end
    number = string.format('%.0f', number)
    redis.call('SET', 'mortise:token', number)
    return number
end

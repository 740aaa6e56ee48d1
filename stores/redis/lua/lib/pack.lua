-- Packs values into one string: of each value its length, a colon and the value.
local function pack(values)
    local parts = {}
    for i, value in ipairs(values) do parts[i] = #value .. ':' .. value end
    return table.concat(parts)
end

-- Returns the values that pack has packed.
local function unpacked(text)
    local values, at = {}, 1
    while at <= #text do
        local colon = string.find(text, ':', at, true)
        local last = colon + tonumber(string.sub(text, at, colon - 1))
        values[#values + 1] = string.sub(text, colon + 1, last)
        at = last + 1
    end
    return values
end

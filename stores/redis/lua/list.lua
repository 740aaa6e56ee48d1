-- Describes keys that may be locks. They are not in KEYS, because Redis rejects a script
-- if the user may not access one of its KEYS.
-- ARGV: the locks

-- include describe

local values = {}
for _, key in ipairs(ARGV) do
    for _, value in ipairs(describe(key) or {}) do values[#values + 1] = value end
end
return values

-- Describes keys that may be locks. They are no KEYS, because Redis refuses a script with a key that the user may not access.
-- ARGV: the locks
local values = {}
for _, key in ipairs(ARGV) do
    for _, value in ipairs(describe(key) or {}) do values[#values + 1] = value end
end
return values

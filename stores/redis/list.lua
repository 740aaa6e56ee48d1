-- Describes strings that may be locks.
-- KEYS: the locks
local values = {}
for _, key in ipairs(KEYS) do
    for _, value in ipairs(describe(key) or {}) do values[#values + 1] = value end
end
return values

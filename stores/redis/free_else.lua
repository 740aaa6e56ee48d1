
local answer = { 0 }
free(key, owner, ARGV[5])
serve({ key }, answer)
return answer

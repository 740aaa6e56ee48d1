
local answer = { 0 }
free(key, ARGV[5])
serve({ key }, answer)
return answer

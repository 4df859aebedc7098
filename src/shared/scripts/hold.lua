-- Takes or keeps the right to keep a slice. KEYS: the right. ARGV: who asks, milliseconds. Answers 1 if it has it.
local holder = text(KEYS[1], 0, -1)
if holder ~= '' and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

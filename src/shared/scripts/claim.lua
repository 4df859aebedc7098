-- Begins another life of a chain. KEYS: the chain. ARGV: the chain as it was read, or nothing; the new one.
-- Answers 1, or 0 where it is another by now.
if text(KEYS[1], 0, -1) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1

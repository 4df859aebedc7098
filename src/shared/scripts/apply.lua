#!lua flags=allow-oom
-- Removes the slots, leases among them, that changes have made old, then moves the chain.
-- KEYS: the chain, the slots. ARGV: the chain's tail as expected, its next one, the mark applied or nothing, the stamps.
-- Answers 1, or 0 where the chain is not as expected; then nothing is done.
-- What others put there may be no text.
local function text(key, from, to)
    local value = redis.pcall('GETRANGE', key, from, to)
    return type(value) == 'string' and value or ''
end
local chain = text(KEYS[1], 0, -1)
if chain == '' or string.sub(chain, 18, 33) ~= ARGV[1] then return 0 end
for i = 2, #KEYS do
    if string.sub(text(KEYS[i], 0, 40), 17, 40) < ARGV[i + 2] then redis.call('UNLINK', KEYS[i]) end
end
-- Last: a script that is cut in the middle has vouched for nothing.
local applied = ARGV[3] ~= '' and ARGV[3] or string.sub(chain, 35)
redis.call('SET', KEYS[1], string.sub(chain, 1, 16) .. ' ' .. ARGV[2] .. ' ' .. applied)
return 1

-- Removes the slots, leases among them, that changes have made old; tells of the changes; then moves the chain.
-- KEYS: the chain, the stream of changes, the slots. ARGV: the chain's tail as expected, its next one, the mark applied or
-- nothing, the changes as text, or nothing where they are too many to be told; the entries that the stream keeps; the stamps.
-- Answers 1, or 0 where the chain is not as expected; then nothing is done.
local chain = text(KEYS[1], 0, -1)
if chain == '' or string.sub(chain, 18, 33) ~= ARGV[1] then return 0 end
for i = 3, #KEYS do
    if string.sub(text(KEYS[i], 0, 40), 17, 40) < ARGV[i + 3] then redis.call('UNLINK', KEYS[i]) end
end
local incarnation, applied = string.sub(chain, 1, 16), ARGV[3] ~= '' and ARGV[3] or string.sub(chain, 35)
local entry = {'incarnation', incarnation, 'applied', applied, 'changes', ARGV[4] == '' and '[]' or ARGV[4]}
if ARGV[4] == '' then entry[7], entry[8] = 'more', '1' end
local told = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', unpack(entry))
if type(told) == 'table' and told.err then
    redis.call('DEL', KEYS[2])
    redis.call('XADD', KEYS[2], '*', unpack(entry))
end
-- Last: a script that is cut in the middle has vouched for nothing.
redis.call('SET', KEYS[1], incarnation .. ' ' .. ARGV[2] .. ' ' .. applied)
return 1

-- Puts states where their leases still are; a lease whose state is not kept is given up.
-- KEYS: the chain, the slots. ARGV, for each slot: the lease's token, milliseconds to keep it, the slot or nothing.
-- Answers how many were put.
local chain = text(KEYS[1], 0, -1)
if chain == '' then return 0 end
local incarnation, filled = string.sub(chain, 1, 16), 0
for i = 2, #KEYS do
    local token, kept, slot = ARGV[3 * i - 5], ARGV[3 * i - 4], ARGV[3 * i - 3]
    local lease = text(KEYS[i], 0, 56)
    local is_ours = string.sub(lease, 1, 16) == incarnation and string.sub(lease, 41) == 'l' .. token
    if is_ours and string.sub(slot, 1, 16) == incarnation and string.sub(slot, 17, 40) >= string.sub(lease, 17, 40) then
        redis.call('SET', KEYS[i], slot, 'PX', kept)
        filled = filled + 1
    elseif is_ours and slot == '' then
        redis.call('DEL', KEYS[i])
    end
end
return filled

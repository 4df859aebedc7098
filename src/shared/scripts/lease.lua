-- Asks for leases on slots that do not show the stamps wanted.
-- KEYS: the chain, the slots. ARGV: milliseconds of a lease, its token, the stamp wanted of each slot.
-- Answers nothing without a chain; else the chain and, for each slot, the slot itself, 'held' or 'granted'.
local chain = text(KEYS[1], 0, -1)
if chain == '' then return false end
local incarnation = string.sub(chain, 1, 16)
local answer = {chain}
for i = 2, #KEYS do
    local wanted = ARGV[i + 1]
    local head = text(KEYS[i], 0, 56)
    if string.sub(head, 1, 16) == incarnation and string.sub(head, 17, 40) >= wanted then
        local kind = string.sub(head, 41, 41)
        -- The one who asks may have got it before, and not have heard so.
        local is_ours = kind == 'l' and string.sub(head, 42, 57) == ARGV[2]
        answer[i] = is_ours and 'granted' or kind == 'l' and 'held' or redis.call('GET', KEYS[i])
    else
        redis.call('SET', KEYS[i], incarnation .. wanted .. 'l' .. ARGV[2], 'PX', ARGV[1])
        answer[i] = 'granted'
    end
end
return answer

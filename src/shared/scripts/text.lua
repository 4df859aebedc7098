-- Begins every script. What others put into Redis may be no text.
local function text(key, from, to)
    local value = redis.pcall('GETRANGE', key, from, to)
    return type(value) == 'string' and value or ''
end

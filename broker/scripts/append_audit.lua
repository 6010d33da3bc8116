-- Append records to a chain, if it still ends where whoever hashed them saw it end.
-- KEYS   1 audit, 2 audit_chain
-- ARGV   1 hash of the last record as the caller knows it, 2 number of the last record to append, 3 its hash,
--        4 records (JSON, a list of lists: name, value, name, value)
-- Gives  1 or 0 (appended or not), then number, hash and entry id of the chain's last record

local function head()
  local found = redis.call('HMGET', KEYS[2], 'number', 'hash', 'entry_id')
  return found[1] or '0', found[2] or string.rep('0', 64), found[3] or '0-0'
end

local number, hash, entry_id = head()
if hash ~= ARGV[1] then
  return { 0, number, hash, entry_id }
end
for _, record in ipairs(cjson.decode(ARGV[4])) do
  entry_id = redis.call('XADD', KEYS[1], '*', unpack(record))
end
redis.call('HSET', KEYS[2], 'number', ARGV[2], 'hash', ARGV[3], 'entry_id', entry_id)
return { 1, ARGV[2], ARGV[3], entry_id }

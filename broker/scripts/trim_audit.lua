-- Drop the oldest records of a chain, up to an entry and a thousand at a time; where it begins now is kept.
-- KEYS   1 audit, 2 audit_chain
-- ARGV   1 entry id: this one and those behind it stay
-- Gives  the number of records dropped

local MOST = 1000

if ARGV[1] == '0-0' then
  return 0 -- nothing is before it, and a server refuses to look there
end
local entries = redis.call('XRANGE', KEYS[1], '-', '(' .. ARGV[1], 'COUNT', MOST + 1)
if #entries == 0 then
  return 0
end
local first_kept, dropped = ARGV[1], #entries
if dropped > MOST then
  first_kept, dropped = entries[MOST + 1][1], MOST
end
local fields = {}
for i = 1, #entries[dropped][2], 2 do
  fields[entries[dropped][2][i]] = entries[dropped][2][i + 1]
end
-- A record that has lost its place is evidence: it stays, and so does what is around it.
if not fields.number or not fields.hash then
  return 0
end
redis.call('HSET', KEYS[2], 'checkpoint_number', fields.number, 'checkpoint_hash', fields.hash)
redis.call('XTRIM', KEYS[1], 'MINID', '=', first_kept)
return dropped

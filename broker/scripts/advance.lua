-- Move a group's position forward to an entry, never back, and count what it passed: its lag stays known.
-- KEYS   1 stream
-- ARGV   1 group, 2 entry id
-- Gives  the number of entries passed: 0 when the group is there or further already, or is not there at all

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function field(flat, name)
  for i = 1, #flat, 2 do
    if flat[i] == name then
      return flat[i + 1]
    end
  end
  return nil
end

if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local group
for _, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  if field(row, 'name') == ARGV[1] then
    group = row
  end
end
if not group then
  return 0
end
local last = field(group, 'last-delivered-id')
local old_ms, old_seq = parts(last)
local new_ms, new_seq = parts(ARGV[2])
if new_ms < old_ms or (new_ms == old_ms and new_seq <= old_seq) then
  return 0
end
local passed = 0
local from = last
while true do
  local entries = redis.call('XRANGE', KEYS[1], '(' .. from, ARGV[2], 'COUNT', 1000)
  passed = passed + #entries
  if #entries < 1000 then
    break
  end
  from = entries[#entries][1]
end
-- A group made at the beginning of a trimmed stream has "read" what was trimmed before it came.
local read = tonumber(field(group, 'entries-read'))
if not read then
  local stream = redis.call('XINFO', 'STREAM', KEYS[1])
  if last == '0-0' then
    read = field(stream, 'entries-added') - field(stream, 'length')
  end
end
if read then
  redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[2], 'ENTRIESREAD', read + passed)
else
  redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[2])
end
return passed

-- Everything compaction needs to know of some hosts of one partition, at one instant.
-- KEYS   for each host: command, open requests, requests
-- ARGV   none
-- Gives  for each host {command as name, value, ..; open requests as id, JSON, ..; entries as id, kind, JSON, ..},
--        or why it cannot be read

local function load(command, open, requests)
  local entries = {}
  for _, entry in ipairs(redis.call('XRANGE', requests, '-', '+', 'COUNT', 1000)) do
    entries[#entries + 1] = entry[1]
    entries[#entries + 1] = entry[2][1]
    entries[#entries + 1] = entry[2][2]
  end
  return { redis.call('HGETALL', command), redis.call('HGETALL', open), entries }
end

local hosts = {}
for first = 1, #KEYS, 3 do
  hosts[#hosts + 1] = for_one_host(load, KEYS[first], KEYS[first + 1], KEYS[first + 2])
end
return hosts

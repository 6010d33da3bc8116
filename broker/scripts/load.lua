-- Everything compaction needs to know of some hosts of one partition, at one instant.
-- KEYS   for each host: command, open requests, requests
-- ARGV   none
-- Gives  for each host {command as name, value, ..; open requests as id, JSON, ..; entries as id, kind, JSON, ..}

local hosts = {}
for first = 1, #KEYS, 3 do
  local entries = {}
  for _, entry in ipairs(redis.call('XRANGE', KEYS[first + 2], '-', '+', 'COUNT', 1000)) do
    entries[#entries + 1] = entry[1]
    entries[#entries + 1] = entry[2][1]
    entries[#entries + 1] = entry[2][2]
  end
  hosts[#hosts + 1] = { redis.call('HGETALL', KEYS[first]), redis.call('HGETALL', KEYS[first + 1]), entries }
end
return hosts

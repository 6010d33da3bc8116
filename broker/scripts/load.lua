-- Everything compaction needs to know of one host, at one instant.
-- KEYS   1 command, 2 open requests, 3 requests
-- ARGV   none
-- Gives  {command as name, value, ..; open requests as id, JSON, ..; entries as id, JSON, ..}

local entries = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1000)) do
  entries[#entries + 1] = entry[1]
  entries[#entries + 1] = entry[2][2]
end
return { redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]), entries }

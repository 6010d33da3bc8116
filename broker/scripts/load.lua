-- Everything compaction needs to know of some hosts of one partition, at one instant.
-- KEYS   of a place without a path, with a host's path behind those of that host: 1 command, 2 open requests, 3 requests
-- ARGV   1 paths of the hosts (JSON)
-- Gives  for each host {command as name, value, ..; open requests as id, JSON, ..; entries as id, kind, JSON, ..},
--        or why it cannot be read

local function load(path)
  local entries = {}
  for _, entry in ipairs(redis.call('XRANGE', KEYS[3] .. path, '-', '+', 'COUNT', 1000)) do
    entries[#entries + 1] = entry[1]
    entries[#entries + 1] = entry[2][1]
    entries[#entries + 1] = entry[2][2]
  end
  return { redis.call('HGETALL', KEYS[1] .. path), redis.call('HGETALL', KEYS[2] .. path), entries }
end

local hosts = {}
for _, path in ipairs(cjson.decode(ARGV[1])) do
  hosts[#hosts + 1] = for_one_host(load, path)
end
return hosts

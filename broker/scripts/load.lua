-- Everything compaction needs to know of some hosts of one partition, at one instant.
-- KEYS   of a place without a path, with a host's path behind those of that host: 1 command, 2 open requests, 3 requests,
--        4 host
-- ARGV   1 paths of the hosts (JSON)
-- Gives  for each host {command as name, value, ..; open requests as id, JSON, ..; entries as id, kind, JSON, ..; the
--        pace (s) of an agent that waits for a moment to start at, "" for others or where no request has one}, or why
--        it cannot be read

local function has_a_moment(texts, first, step)
  for i = first, #texts, step do
    if string.find(texts[i], '"not_before"', 1, true) then
      return true
    end
  end
  return false
end

-- An agent says that it can wait, once; another one, which says nothing of it, may have taken its place since.
local function pace_of_who_waits(host)
  local known = redis.call('HMGET', host, 'waits', 'agent_version', 'interval')
  return known[1] and known[1] ~= '' and known[1] == known[2] and known[3] or ''
end

local function load(path)
  local entries = {}
  for _, entry in ipairs(redis.call('XRANGE', KEYS[3] .. path, '-', '+', 'COUNT', 1000)) do
    entries[#entries + 1] = entry[1]
    entries[#entries + 1] = entry[2][1]
    entries[#entries + 1] = entry[2][2]
  end
  local open = redis.call('HGETALL', KEYS[2] .. path)
  local pace = ''
  if has_a_moment(open, 2, 2) or has_a_moment(entries, 3, 3) then
    pace = pace_of_who_waits(KEYS[4] .. path)
  end
  return { redis.call('HGETALL', KEYS[1] .. path), open, entries, pace }
end

local hosts = {}
for _, path in ipairs(cjson.decode(ARGV[1])) do
  hosts[#hosts + 1] = for_one_host(load, path)
end
return hosts

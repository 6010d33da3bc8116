-- Put a rebuilt status in the place of the one that is read, host by host, unless that one has heard newer news.
-- What was rebuilt from a history without its beginning replaces nothing: what is there knows more.
-- KEYS   1 the request's hosts, 2 the same rebuilt, 3 the request's counts, 4 the same rebuilt
-- ARGV   none
-- Gives  the number of hosts for which the rebuilt status is too old; with 0 it is gone, else it waits to be completed

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local rebuilt = redis.call('HGETALL', KEYS[2])
local behind = 0
for i = 1, #rebuilt, 2 do
  local path, text = rebuilt[i], rebuilt[i + 1]
  local present = redis.call('HGET', KEYS[1], path)
  local status = cjson.decode(text)
  local takes = true
  if present then
    local new_ms, new_seq = parts(status.entry)
    local old_ms, old_seq = parts(cjson.decode(present).entry)
    if old_ms > new_ms or (old_ms == new_ms and old_seq > new_seq) then
      behind = behind + 1
      takes = false
    elseif not status.timeline.submitted then
      takes = false
    end
  end
  if takes then
    redis.call('HSET', KEYS[1], path, text)
  end
end
if #rebuilt > 0 then
  redis.call('EXPIRE', KEYS[1], 604800)
  -- The counts are those of the status as it is now, whichever of the two each host's is.
  local counts, begun, first, last = {}, 0, nil, nil
  for _, text in ipairs(redis.call('HVALS', KEYS[1])) do
    local status = cjson.decode(text)
    counts[status.state] = (counts[status.state] or 0) + 1
    local at = tonumber(status.timeline.running)
    if at then
      begun = begun + 1
      first, last = math.min(first or at, at), math.max(last or at, at)
    end
  end
  redis.call('DEL', KEYS[3])
  for state, count in pairs(counts) do
    redis.call('HSET', KEYS[3], state, count)
  end
  if begun > 0 then
    redis.call('HSET', KEYS[3], 'begun_hosts', begun, 'begun_first', string.format('%.0f', first),
      'begun_last', string.format('%.0f', last))
  end
  redis.call('EXPIRE', KEYS[3], 604800)
end
if behind == 0 then
  redis.call('DEL', KEYS[2], KEYS[4])
end
return behind

-- Store what compaction decided for one host, unless the host has changed since it was loaded.
-- KEYS   1 command, 2 open requests, 3 requests, 4 history, 5 results, 6 deadlines, 7 doorbell
-- ARGV   1 now (ms), 2 path, 3 tenant, 4 service, 5 host name, 6 revision loaded, 7 nudge channel,
--        8 decision (JSON: drained, keep, drop, close, install, update, events, wake_at)
-- Gives  "stored" | "changed"

local now = ARGV[1]
local who = host_of(ARGV[2], ARGV[3], ARGV[4], ARGV[5])
local at = { command = KEYS[1], open = KEYS[2], history = KEYS[4], results = KEYS[5], deadlines = KEYS[6] }
local decision = cjson.decode(ARGV[8])

if (redis.call('HGET', at.command, 'revision') or '0') ~= ARGV[6] then
  return 'changed'
end

if #decision.drained > 0 then
  redis.call('XDEL', KEYS[3], unpack(decision.drained))
end
if redis.call('XLEN', KEYS[3]) == 0 then
  redis.call('DEL', KEYS[3]) -- an empty stream keeps its memory
else
  redis.call('XADD', KEYS[7], '*', 'host', who.path) -- more has come, or there was more than one bite
end

if decision.close then
  local command = as_map(redis.call('HGETALL', at.command))
  -- Its requests are told apart by compaction: some end here, some go on in the next command.
  local served = command.request_ids
  command.request_ids, command.stop_ids = '', ''
  close(at, who, command, decision.close.outcome, now, { 'reason', decision.close.reason }, served)
end
for _, id in ipairs(decision.drop) do
  redis.call('HDEL', at.open, id)
end
for id, request in pairs(decision.keep) do
  redis.call('HSET', at.open, id, request)
end

if decision.install then
  redis.call('DEL', at.command)
  local fields = { 'revision', tonumber(ARGV[6]) + 1 }
  for name, value in pairs(decision.install) do
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  redis.call('HSET', at.command, unpack(fields))
elseif #decision.drained > 0 or #decision.events > 0 or decision.close then
  -- Every step that ends or moves a request is counted: a second merger with the same reading must not repeat it.
  redis.call('HINCRBY', at.command, 'revision', 1)
  for name, value in pairs(decision.update) do
    redis.call('HSET', at.command, name, value)
  end
  if redis.call('HEXISTS', at.command, 'id') == 0 then
    redis.call('EXPIRE', at.command, WEEK_SECONDS) -- no command was ever installed: only the counter is here
  end
end

for _, event in ipairs(decision.events) do
  redis.call('XADD', at.results, '*', unpack(event))
end
if decision.wake_at then
  redis.call('ZADD', at.deadlines, decision.wake_at, who.path)
else
  redis.call('ZREM', at.deadlines, who.path)
end
if decision.install then
  redis.call('SPUBLISH', ARGV[7], who.path)
end
return 'stored'

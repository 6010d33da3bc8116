-- Fold one change of state into a request's status on one host. Older news than what is stored changes nothing.
-- A late completion tells where the samples of a run are that ended otherwise; it moves no state.
-- KEYS   1 the request's hosts
-- ARGV   1 path, 2 entry id, 3 state, 4 "1" when the state is an outcome, 5 at (ms), then facts: name, value, ..
-- Gives  1 when it changed something, else 0

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local stored = redis.call('HGET', KEYS[1], ARGV[1])
local status = stored and cjson.decode(stored) or { timeline = {} }
if ARGV[3] == 'late_completion' then
  if not status.ended or status.results_path then
    return 0
  end
  for i = 6, #ARGV, 2 do
    if ARGV[i] == 'samples' or ARGV[i] == 'execution_time' or ARGV[i] == 'results_path' then
      status[ARGV[i]] = ARGV[i + 1]
    end
  end
  redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(status))
  return 1
end
if stored then
  local old_ms, old_seq = parts(status.entry)
  local new_ms, new_seq = parts(ARGV[2])
  if status.ended or new_ms < old_ms or (new_ms == old_ms and new_seq <= old_seq) then
    return 0
  end
end
status.entry = ARGV[2]
status.state = ARGV[3]
status.ended = ARGV[4] == '1' or nil
status.at = ARGV[5]
if not status.timeline[ARGV[3]] then
  status.timeline[ARGV[3]] = ARGV[5]
end
for i = 6, #ARGV, 2 do
  status[ARGV[i]] = ARGV[i + 1]
end
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(status))
redis.call('EXPIRE', KEYS[1], 604800)
return 1

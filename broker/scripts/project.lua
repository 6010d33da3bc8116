-- Fold changes of state into a request's status on its hosts, and into how many hosts stand where. Older news than what
-- is stored changes nothing. A late completion tells where the samples of a run are that ended otherwise; it moves no
-- state. What every host has alike is left out, there may be very many of them: a status without a command id is about the
-- request's own command, one without a moment is of the moment that its timeline has for its state.
-- KEYS   1 the request's hosts, 2 the request's counts, 3 the request
-- ARGV   1 changes (JSON, for each: path, entry id, state, whether the state is an outcome, at (ms), facts by name)
-- Gives  how many changes changed something

local LATE_FACTS = { samples = true, execution_time = true, results_path = true }

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function is_older(id, than)
  local ms, seq = parts(id)
  local than_ms, than_seq = parts(than)
  return ms < than_ms or (ms == than_ms and seq <= than_seq)
end

-- How many hosts have begun, and when the first and the last of them did: how far apart their starts are.
local function note_begun(at)
  redis.call('HINCRBY', KEYS[2], 'begun_hosts', 1)
  local first, last = unpack(redis.call('HMGET', KEYS[2], 'begun_first', 'begun_last'))
  if not first or tonumber(at) < tonumber(first) then
    redis.call('HSET', KEYS[2], 'begun_first', at)
  end
  if not last or tonumber(at) > tonumber(last) then
    redis.call('HSET', KEYS[2], 'begun_last', at)
  end
end

local statuses, touched, counts = {}, {}, {}
local own_command = redis.call('HGET', KEYS[3], 'command_id')

local function count(state, by)
  counts[state] = (counts[state] or 0) + by
end

local function fold(path, entry, state, is_outcome, at, facts)
  local status = statuses[path]
  if not status then
    local stored = redis.call('HGET', KEYS[1], path)
    status = stored and cjson.decode(stored) or { timeline = {} }
    statuses[path] = status
  end
  if state == 'late_completion' then
    if not status.ended or status.results_path then
      return 0
    end
    for name, value in pairs(facts) do
      if LATE_FACTS[name] then
        status[name] = value
      end
    end
    touched[path] = true
    return 1
  end
  if status.state then
    if status.ended or is_older(entry, status.entry) then
      return 0
    end
    count(status.state, -1)
  end
  count(state, 1)
  status.entry = entry
  status.state = state
  status.ended = is_outcome or nil
  if state == 'running' and not status.timeline[state] then
    note_begun(at)
  end
  status.timeline[state] = status.timeline[state] or at
  status.at = status.timeline[state] ~= at and at or nil
  for name, value in pairs(facts) do
    status[name] = value
  end
  if status.command_id == own_command then
    status.command_id = nil
  end
  touched[path] = true
  return 1
end

local changed = 0
for _, change in ipairs(cjson.decode(ARGV[1])) do
  changed = changed + fold(unpack(change))
end
for path in pairs(touched) do
  redis.call('HSET', KEYS[1], path, cjson.encode(statuses[path]))
end
for state, by in pairs(counts) do
  if by ~= 0 then
    redis.call('HINCRBY', KEYS[2], state, by)
  end
end
if changed > 0 then
  redis.call('EXPIRE', KEYS[1], 604800)
  redis.call('EXPIRE', KEYS[2], 604800)
end
return changed

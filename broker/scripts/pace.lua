-- One step of a rollout: take note of hosts that have ended, and give their turn to as many as there is room for.
-- The room is the window less the hosts under way; the window begins with 1 and doubles, up to the most, each time as
-- many hosts have ended well as it was wide. More errors than allowed halt it: nobody gets a turn any more.
-- KEYS   1 rollout, 2 turns, 3 unsent
-- ARGV   1 TTL (s), 2 the number of the first candidate, 3 why to halt it ("" no reason to), 4 the number of hosts that
--        have ended,
--        then for each: path, "good" | "error" | "other"; then the candidates' paths, in the order of their turns
-- Gives  {state, next, window, errors, halt reason, hosts under way, number of the first turn given, turns given}

local rollout = {}
local flat = redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do
  rollout[flat[i]] = flat[i + 1]
end
if not rollout.state then
  return { 'gone', 0, 0, 0, '', 0, 0, 0 }
end
local state, reason = rollout.state, rollout.reason or ''
local most, allowed = tonumber(rollout.most), tonumber(rollout.allowed)
local next_turn, window = tonumber(rollout.next), tonumber(rollout.window)
local errors, good = tonumber(rollout.errors), tonumber(rollout.good)

local ended = tonumber(ARGV[4])
for i = 1, ended do
  local path, how = ARGV[3 + 2 * i], ARGV[4 + 2 * i]
  if redis.call('HDEL', KEYS[2], path) == 1 then
    redis.call('HDEL', KEYS[3], path)
    if how == 'error' then
      errors = errors + 1
    elseif how == 'good' then
      good = good + 1
      if good >= window and window < most then
        window = math.min(most, 2 * window)
        good = 0
      end
    end
  end
end
if state == 'open' and ARGV[3] ~= '' then
  state, reason = 'halted', ARGV[3]
elseif state == 'open' and allowed >= 0 and errors > allowed then
  state = 'halted'
  reason = 'halted: ' .. errors .. ' of ' .. allowed .. ' allowed errors'
end

local first, given = next_turn, 0
if state == 'open' then
  local room = window - redis.call('HLEN', KEYS[2])
  local candidate = 5 + 2 * ended + next_turn - tonumber(ARGV[2])
  while given < room and next_turn >= tonumber(ARGV[2]) and ARGV[candidate] do
    redis.call('HSET', KEYS[2], ARGV[candidate], next_turn)
    redis.call('HSET', KEYS[3], ARGV[candidate], next_turn)
    candidate, next_turn, given = candidate + 1, next_turn + 1, given + 1
  end
end

redis.call('HSET', KEYS[1], 'state', state, 'next', next_turn, 'window', window, 'errors', errors, 'good', good,
  'reason', reason)
for _, key in ipairs(KEYS) do
  redis.call('EXPIRE', key, ARGV[1])
end
return { state, next_turn, window, errors, reason, redis.call('HLEN', KEYS[2]), first, given }

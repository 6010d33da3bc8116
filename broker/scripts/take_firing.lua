-- Take a firing of a schedule. One that was taken and not settled is taken again: whoever had it may be dead.
-- KEYS   1 schedule, 2 its firings, 3 firings taken
-- ARGV   1 schedule id, 2 due (s), 3 now (ms)
-- Gives  {"gone"} when the schedule does not fire then; else {"settled" or "taken", attempts, the schedule's fields}

local stored = redis.call('HGET', KEYS[2], ARGV[2])
local firing = stored and cjson.decode(stored) or { attempts = 0 }
if firing.outcome then
  return { 'settled', 0, redis.call('HGETALL', KEYS[1]) }
end
if not stored then
  local facts = redis.call('HMGET', KEYS[1], 'active', 'next')
  if facts[1] ~= '1' or facts[2] ~= ARGV[2] then
    return { 'gone' }
  end
end
firing.attempts = firing.attempts + 1
redis.call('HSET', KEYS[2], ARGV[2], cjson.encode(firing))
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1] .. ':' .. ARGV[2])
return { 'taken', firing.attempts, redis.call('HGETALL', KEYS[1]) }

-- Record what became of a firing, once, and set the schedule to its next one. Enough failures in a row pause it.
-- Of two who worked it off at once, the one whose request stands is right.
-- KEYS   1 schedule, 2 its firings, 3 schedules due, 4 firings taken
-- ARGV   1 schedule id, 2 due (s), 3 revision of the schedule that was fired, 4 next firing (s),
--        5 firings kept, 6 firing (JSON) or "" to set the next one alone, 7 outcome, 8 "1" when that is a failure,
--        9 request id or ""
-- Gives  1 when it was recorded, 0 when it had been, or its schedule is gone

redis.call('ZREM', KEYS[4], ARGV[1] .. ':' .. ARGV[2])
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local recorded = 0
local stored = redis.call('HGET', KEYS[2], ARGV[2])
local outcome = stored and cjson.decode(stored).outcome
if ARGV[6] ~= '' and outcome ~= 'submitted' and (not outcome or ARGV[7] == 'submitted') then
  recorded = 1
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[6])
  local dues = redis.call('HKEYS', KEYS[2])
  if #dues > tonumber(ARGV[5]) then
    table.sort(dues, function(a, b) return tonumber(a) < tonumber(b) end)
    for i = 1, #dues - tonumber(ARGV[5]) do
      if cjson.decode(redis.call('HGET', KEYS[2], dues[i])).outcome then
        redis.call('HDEL', KEYS[2], dues[i])
      end
    end
  end
  if ARGV[7] == 'submitted' then
    redis.call('HSET', KEYS[1], 'failures', 0, 'last_request', ARGV[9])
  elseif ARGV[8] == '1' then
    local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
    local most = cjson.decode(redis.call('HGET', KEYS[1], 'facts')).pause_after
    if most > 0 and failures >= most and redis.call('HGET', KEYS[1], 'active') == '1' then
      local reason = failures .. ' firings in a row failed; the last: ' .. cjson.decode(ARGV[6]).reason
      redis.call('HSET', KEYS[1], 'active', 0, 'reason', reason, 'next', '')
      redis.call('ZREM', KEYS[3], ARGV[1])
    end
  end
end
local facts = redis.call('HMGET', KEYS[1], 'active', 'next', 'revision')
if facts[1] == '1' and facts[2] == ARGV[2] and facts[3] == ARGV[3] then
  redis.call('HSET', KEYS[1], 'next', ARGV[4])
  redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
end
return recorded

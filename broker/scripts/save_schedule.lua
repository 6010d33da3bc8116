-- Store a schedule, new or changed, unless somebody changed it meanwhile.
-- KEYS   1 schedule, 2 schedules due, 3 schedules of the tenant
-- ARGV   1 revision it is changed from (0: new), 2 most of a tenant, 3 schedule id, 4 member of the index,
--        5 facts (JSON), 6 "1" when it is active, 7 reason of a pause, 8 next firing (s) or "",
--        9 "1" when its failures are forgotten
-- Gives  1 when it was stored, 0 when it was changed meanwhile, -1 when the tenant has too many

if tonumber(redis.call('HGET', KEYS[1], 'revision') or 0) ~= tonumber(ARGV[1]) then
  return 0
end
if ARGV[1] == '0' and redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[2]) then
  return -1
end
redis.call('HSET', KEYS[1], 'facts', ARGV[5], 'active', ARGV[6], 'reason', ARGV[7], 'next', ARGV[8], 'index', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'revision', 1)
if ARGV[9] == '1' then
  redis.call('HSET', KEYS[1], 'failures', 0)
end
redis.call('ZADD', KEYS[3], 0, ARGV[4])
if ARGV[6] == '1' and ARGV[8] ~= '' then
  redis.call('ZADD', KEYS[2], ARGV[8], ARGV[3])
else
  redis.call('ZREM', KEYS[2], ARGV[3])
end
return 1

-- Give up on a doorbell entry: keep it as a dead letter with the reason, and take it from the group.
-- KEYS   1 doorbell, 2 dead letters
-- ARGV   1 now (ms), 2 group, 3 entry id, 4 path, 5 reason, 6 deliveries
-- Gives  1 when it was parked, 0 when somebody had acked it meanwhile

if redis.call('XACK', KEYS[1], ARGV[2], ARGV[3]) == 0 then
  return 0
end
redis.call('XDEL', KEYS[1], ARGV[3])
redis.call('XADD', KEYS[2], 'MAXLEN', 10000, '*', 'v', '1', 'kind', 'doorbell', 'host', ARGV[4], 'reason', ARGV[5],
  'attempts', ARGV[6], 'at', ARGV[1])
return 1

-- Give up on a doorbell entry: keep a dead letter with the reason for each host that was not worked off, and take the
-- entry from the group.
-- KEYS   1 doorbell, 2 dead letters
-- ARGV   1 now (ms), 2 group, 3 entry id, 4 reason, 5 deliveries, then the path of each host
-- Gives  1 when it was parked, 0 when somebody had acked it meanwhile

if redis.call('XACK', KEYS[1], ARGV[2], ARGV[3]) == 0 then
  return 0
end
redis.call('XDEL', KEYS[1], ARGV[3])
for i = 6, #ARGV do
  redis.call('XADD', KEYS[2], 'MAXLEN', 10000, '*', 'v', '1', 'kind', 'doorbell', 'host', ARGV[i], 'reason', ARGV[4],
    'attempts', ARGV[5], 'at', ARGV[1])
end
return 1
